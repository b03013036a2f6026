"""From stored base codes to the model's input: shift, reverse complement, one-hot.

Each sequence is shifted by its own -3..3 and reverse-complemented with probability 1/2 in training
(the released code draws once per batch: docs/method.md, "Trunk"). Shifts read the true flanking
bases that the atlas stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["UNKNOWN", "augmented_codes", "central_codes", "one_hot_input"]

UNKNOWN = 4
"""Code of a base that is not A, C, G or T (codes 0, 1, 2, 3)."""

_COMPLEMENT = (3, 2, 1, 0, UNKNOWN)


def central_codes(codes: Tensor, window_bp: int) -> Tensor:
    """Return the central `window_bp` of stored codes (B, L + 2 flank), uint8 (B, L)."""
    flank = (codes.shape[1] - window_bp) // 2
    return codes[:, flank : flank + window_bp]


def augmented_codes(codes: Tensor, window_bp: int, shift: Tensor, reverse: Tensor) -> Tensor:
    """Shift and reverse-complement each sequence.

    Parameters
    ----------
    codes
        uint8 (B, L + 2 flank), 0..4.
    window_bp
        L.
    shift
        int64 (B,): window start relative to the centred one, within -flank..flank.
    reverse
        bool (B,): which to reverse-complement.

    Returns
    -------
    Tensor
        uint8 (B, L).
    """
    flank = (codes.shape[1] - window_bp) // 2
    at = torch.arange(window_bp, device=codes.device)
    at = torch.where(reverse[:, None], window_bp - 1 - at, at)
    picked = codes.gather(1, at + (flank + shift)[:, None])
    complement = torch.tensor(_COMPLEMENT, dtype=torch.uint8, device=codes.device)
    return torch.where(reverse[:, None], complement[picked.long()], picked)


def one_hot_input(codes: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the model's input (B, L, 4): one-hot, 0.25 in each channel where unknown."""
    table = torch.eye(4, dtype=dtype, device=codes.device)
    table = torch.cat([table, torch.full((1, 4), 0.25, dtype=dtype, device=codes.device)])
    return table[codes.long()]
