"""Windows around peaks, and the two forms of a sequence: codes (uint8) and one-hot (bool).

Codes 0..3 are A, C, G, T and 4 is an unknown base; one-hot channels are in the same order and an
unknown base is four falses. Stores hold the one-hot form, memory the codes (4 times smaller).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "POOLING",
    "UNKNOWN",
    "check_window",
    "codes_to_onehot",
    "onehot_to_codes",
    "reverse_complement_codes",
    "window_starts",
]

UNKNOWN = 4
"""Code of a base outside ACGT or past a chromosome's end."""

POOLING = 192
"""3 * 2**6: the trunk's pooling; a window's length is a multiple of it."""

_COMPLEMENT = np.array([3, 2, 1, 0, UNKNOWN], np.uint8)

# One base's four channels as one 32-bit word, so that both directions are single passes.
_WORDS = np.concatenate([np.eye(4, dtype=np.uint8), np.zeros((1, 4), np.uint8)]).view(np.uint32)


def check_window(window_bp: int, flank_bp: int) -> None:
    """Raise UserInputError unless the window fits the trunk and the flank is not negative."""
    if window_bp < POOLING or window_bp % POOLING:
        nearest = max(POOLING, round(window_bp / POOLING) * POOLING)
        raise UserInputError(
            f"The window is {window_bp} bp, but it must be a positive multiple of {POOLING} bp "
            f"(the model pools by 3 * 2^6); use for example {nearest}."
        )
    if flank_bp < 0:
        raise UserInputError(f"The flank is {flank_bp} bp, but it must be 0 or more.")


def window_starts(
    start: NDArray[np.int64], end: NDArray[np.int64], *, window_bp: int, flank_bp: int
) -> NDArray[np.int64]:
    """Return where each peak's stored window starts, 0-based; it may be negative.

    The window is centred: ``mid = (start + end) // 2``, and what is stored is
    ``[mid - window_bp // 2 - flank_bp, mid + window_bp // 2 + flank_bp)``, half-open.
    """
    return (start + end) // 2 - (window_bp // 2 + flank_bp)


def codes_to_onehot(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return one-hot bool, shape (..., L, 4), of codes uint8 0..4, shape (..., L)."""
    return _WORDS[:, 0][codes].view(np.bool_).reshape(*codes.shape, 4)


def onehot_to_codes(onehot: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return codes uint8, shape (..., L), of one-hot bool, shape (..., L, 4).

    Raises
    ------
    ValueError
        When a base has more than one true channel.
    """
    words = np.ascontiguousarray(onehot).view(np.uint32)[..., 0]
    codes = _code_of_words(words)
    if not np.array_equal(_WORDS[:, 0][codes], words):
        raise ValueError("a base has more than one channel set")
    return codes


def _code_of_words(words: NDArray[np.uint32]) -> NDArray[np.uint8]:
    codes: NDArray[np.uint8] = np.zeros(words.shape, np.uint8)
    for limit in (1 << 8, 1 << 16, 1 << 24):
        codes += words >= np.uint32(limit)
    if sys.byteorder == "big":
        codes = np.uint8(3) - codes
    codes[words == 0] = UNKNOWN
    return codes


def reverse_complement_codes(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return codes, uint8 (..., L), as they are read on the other strand."""
    return _COMPLEMENT[codes[..., ::-1]]
