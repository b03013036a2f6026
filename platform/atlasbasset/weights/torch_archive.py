"""Tensors of a ``torch.save`` file or a safetensors file, read as data.

``torch.save`` writes a zip of one pickle, which says how tensors are made, and one file of raw
bytes per tensor. The pickle is read by `pickle_tree`, which runs nothing.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from atlasbasset.weights.pickle_tree import Call, Name, Persistent, read_pickle_tree
from atlasstore.errors import UserInputError
from atlasstore.files import urls

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Archive", "read_archive", "text_array"]

_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_DTYPES = {
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?",
}


class Archive(NamedTuple):
    """What a weight file holds."""

    tensors: dict[str, NDArray[Any]]
    """State-dict names -> values."""
    rest: dict[str, Any]
    """What is saved next to the state dict, as a tree of values, `Call` and `Name`."""


def read_archive(path: str | Path) -> Archive:
    """Read a file of ``torch.save`` (a state dict, or a dict with ``model_state_dict``).

    A file whose first bytes are not a zip's is read as safetensors.

    Raises
    ------
    UserInputError
        When it is neither, or is damaged.
    """
    content = urls.local_path(path)
    if not zipfile.is_zipfile(content):
        return Archive(_read_safetensors(path), {})
    try:
        with zipfile.ZipFile(content) as zipped:
            return _read_zip(zipped)
    except (zipfile.BadZipFile, ValueError, KeyError, StopIteration) as error:
        raise UserInputError(
            f"{path} cannot be read as a torch.save file ({error}); save the state dict again with "
            "torch.save, or as safetensors."
        ) from error


def _read_safetensors(path: str | Path) -> dict[str, NDArray[Any]]:
    try:
        return dict(safetensors.numpy.load_file(urls.local_path(path)))
    except (SafetensorError, OSError) as error:
        raise UserInputError(
            f"{path} is neither a torch.save file nor safetensors ({error}); give scvi-tools' "
            "model.pt, or its state dict saved with torch.save or as safetensors."
        ) from error


def _read_zip(zipped: zipfile.ZipFile) -> Archive:
    pickled = next(name for name in zipped.namelist() if name.endswith("data.pkl"))
    reader = _TensorReader(zipped, pickled.removesuffix("data.pkl"))
    saved = _entries(read_pickle_tree(zipped.read(pickled)))
    state = _entries(saved.pop("model_state_dict", saved))
    tensors = {k: t for k, v in state.items() if (t := reader.tensor(v)) is not None}
    return Archive(tensors, {k: v for k, v in saved.items() if k not in tensors})


def _entries(value: Any) -> dict[str, Any]:
    """Return the entries of a dict or an OrderedDict."""
    if isinstance(value, Call):
        return dict(value.items)
    if isinstance(value, dict):
        return dict(value)
    raise ValueError("it holds no dict of tensors")


class _TensorReader:
    """Makes arrays of the tensors that a pickle describes."""

    def __init__(self, zipped: zipfile.ZipFile, root: str) -> None:
        self._zipped, self._root = zipped, root
        order = f"{root}byteorder"
        stored = zipped.read(order).decode() if order in zipped.namelist() else "little"
        self._order: Literal["<", ">"] = ">" if stored == "big" else "<"

    def tensor(self, value: Any) -> NDArray[Any] | None:
        """Return the tensor that `value` describes; None when it describes something else."""
        if not isinstance(value, Call) or not isinstance(value.function, Name):
            return None
        if value.function.dotted == _PARAMETER:
            return self.tensor(value.args[0])
        if value.function.dotted != _TENSOR:
            return None
        storage, offset, shape, strides = value.args[:4]
        flat = self._storage(storage)
        _check_extent(len(flat), offset, shape, strides)
        step = flat.itemsize
        view = np.lib.stride_tricks.as_strided(
            flat[offset:], shape, [s * step for s in strides], writeable=False
        )
        return np.array(view, dtype=view.dtype.newbyteorder("="))

    def _storage(self, storage: Any) -> NDArray[Any]:
        if not isinstance(storage, Persistent):
            raise ValueError("a tensor without stored bytes")  # noqa: TRY004 - of the file
        _, kind, key = storage.key[:3]
        if kind.dotted not in _DTYPES:
            raise ValueError(f"tensors of {kind.dotted} are not read here")
        dtype = np.dtype(_DTYPES[kind.dotted]).newbyteorder(self._order)
        return np.frombuffer(self._zipped.read(f"{self._root}data/{key}"), dtype)


def _check_extent(
    available: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    """Raise ValueError unless every element is in the storage."""
    numbers = (offset, *shape, *strides)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if any(not isinstance(n, int) or n < 0 for n in numbers) or (all(shape) and last >= available):
        raise ValueError("a tensor reaches past its stored bytes")


def text_array(value: Any) -> list[str] | None:
    """Return the text of a pickled numpy array of str objects; None when it is something else."""
    state = value.state if isinstance(value, Call) else None
    values = state[4] if isinstance(state, tuple) and len(state) == 5 else None
    if isinstance(values, list) and all(isinstance(v, str) for v in values):
        return values
    return None
