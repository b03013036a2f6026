"""Conversion of sequences (text, codes, one-hot) to the model's input, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.core.augment import UNKNOWN, one_hot_input
from atlasstore.errors import UserInputError
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["checked_sequences", "input_batches"]

_FORMS = "a list of str, codes (B, L) of 0..4, or one-hot (B, L, 4) in the order A, C, G, T"
_SUM_TOLERANCE = 1e-3

_CODE_OF_BYTE = np.full(256, UNKNOWN, np.uint8)
for _code, _letters in enumerate((b"Aa", b"Cc", b"Gg", b"Tt")):
    _CODE_OF_BYTE[list(_letters)] = _code


def checked_sequences(sequences: Any, *, window_bp: int) -> NDArray[Any]:
    """Return sequences as one array: uint8 codes (B, L), or float32 one-hot (B, L, 4).

    Raises
    ------
    UserInputError
        When they are none of the three forms, or not `window_bp` long.
    """
    if isinstance(sequences, str):
        raise UserInputError(f"one str was given; give {_FORMS}, for example [sequence].")
    if not isinstance(sequences, np.ndarray | torch.Tensor) and _is_text(sequences):
        return _codes_of_text(list(sequences), window_bp)
    array = sequences.numpy(force=True) if torch.is_tensor(sequences) else np.asarray(sequences)
    if array.ndim == 2 and np.issubdtype(array.dtype, np.integer):
        return _checked_codes(array, window_bp)
    if array.ndim == 3 and (array.dtype == bool or np.issubdtype(array.dtype, np.number)):
        return _checked_onehot(array, window_bp)
    raise UserInputError(
        f"sequences of shape {array.shape} and dtype {array.dtype} were given; give {_FORMS}."
    )


def _is_text(sequences: Any) -> bool:
    return len(sequences) > 0 and all(isinstance(s, str) for s in sequences)


def _codes_of_text(texts: list[str], window_bp: int) -> NDArray[np.uint8]:
    for row, text in enumerate(texts):
        if len(text) != window_bp:
            raise _wrong_length(f"sequence {row}", len(text), window_bp)
    joined = "".join(texts).encode("ascii", "replace")
    return _CODE_OF_BYTE[np.frombuffer(joined, np.uint8)].reshape(len(texts), window_bp)


def _wrong_length(what: str, length: int, window_bp: int) -> UserInputError:
    return UserInputError(
        f"{what} is {length} bp long, but this model reads windows of {window_bp} bp; cut or "
        "extend each sequence around its centre (N for unknown bases)."
    )


def _checked_codes(codes: NDArray[Any], window_bp: int) -> NDArray[np.uint8]:
    if codes.shape[1] != window_bp:
        raise _wrong_length("each row of codes", codes.shape[1], window_bp)
    if codes.size and not 0 <= codes.min() <= codes.max() <= UNKNOWN:
        raise UserInputError(
            f"codes run from {codes.min()} to {codes.max()}; they are 0..3 for A, C, G, T and "
            f"{UNKNOWN} for an unknown base."
        )
    return codes.astype(np.uint8)


def _checked_onehot(onehot: NDArray[Any], window_bp: int) -> NDArray[np.float32]:
    if onehot.shape[2] != 4:
        hint = "; swap the last two axes" if onehot.shape[1] == 4 else ""
        raise UserInputError(f"one-hot of shape {onehot.shape} was given; give (B, L, 4){hint}.")
    if onehot.shape[1] != window_bp:
        raise _wrong_length("each one-hot sequence", onehot.shape[1], window_bp)
    values = onehot.astype(np.float32)
    total = values.sum(2)
    unknown = total == 0
    if not np.all(unknown | (np.abs(total - 1) <= _SUM_TOLERANCE)) or np.any(values < 0):
        raise UserInputError(
            "the four channels of a base must be 0 or more and sum to 1 (or be all 0, or 0.25 "
            f"each, for an unknown base); sums run from {total.min():g} to {total.max():g}."
        )
    values[unknown] = 0.25
    return values


def input_batches(
    sequences: NDArray[Any], *, batch: int, device: torch.device, dtype: torch.dtype
) -> Iterator[Tensor]:
    """Yield the model's input (b, L, 4) for runs of `batch` of what `checked_sequences` gave."""
    for start, stop in runs(len(sequences), batch):
        part = torch.from_numpy(np.ascontiguousarray(sequences[start:stop])).to(device)
        yield one_hot_input(part, dtype) if part.dim() == 2 else part.to(dtype)
