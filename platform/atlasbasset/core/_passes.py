"""The four passes of `norm_pool` in plain torch: any dtype, any device."""

from __future__ import annotations

import torch
from torch import Tensor

from atlasbasset.core.activation import activate, activation_slope

__all__ = ["channel_sums", "pool_activate", "pool_activate_grad", "spread_grad"]


def _wide(y: Tensor) -> Tensor:
    return y if y.dtype == torch.float64 else y.float()


def channel_sums(y: Tensor) -> Tensor:
    """Return sums and sums of squares over (B, L), float64 (2, C)."""
    wide = _wide(y)
    return torch.stack([wide.sum((0, 1)), wide.square().sum((0, 1))]).double()


def _maxima(y: Tensor, scale: Tensor, shift: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    z = _wide(y) * scale + shift
    best = z.unflatten(1, (-1, pool)).max(dim=2)
    return best.values, best.indices


def pool_activate(y: Tensor, scale: Tensor, shift: Tensor, pool: int) -> Tensor:
    """Return act(max over windows of (y * scale + shift)), shape (B, L // pool, C)."""
    return activate(_maxima(y, scale, shift, pool)[0]).to(y.dtype)


def pool_activate_grad(
    y: Tensor, scale: Tensor, shift: Tensor, pool: int, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient at each window's maximum z, and sums of (g, g z), float64 (2, C)."""
    z, _ = _maxima(y, scale, shift, pool)
    at_max = (_wide(grad) * activation_slope(z)).to(grad.dtype)
    g = _wide(at_max)
    return at_max, torch.stack([g.sum((0, 1)), (g * z).sum((0, 1))]).double()


def spread_grad(
    y: Tensor,
    scale: Tensor,
    shift: Tensor,
    pool: int,
    grad: Tensor,
    constant: Tensor,
    slope: Tensor,
) -> Tensor:
    """Return scale * (gradient at each maximum, else 0) + constant + slope * y, shape (B, L, C)."""
    _, where = _maxima(y, scale, shift, pool)
    dense = constant + slope * _wide(y)
    at_max = (_wide(grad) * scale).unsqueeze(2)
    dense.unflatten(1, (-1, pool)).scatter_add_(2, where.unsqueeze(2), at_max)
    return dense.to(y.dtype)
