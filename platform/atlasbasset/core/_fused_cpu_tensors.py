"""`_fused_cpu`'s passes on torch tensors: views in, views out, nothing copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from atlasbasset.core import _fused_cpu

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["channel_sums", "pool_activate", "pool_activate_grad", "spread_grad"]


def _array(tensor: Tensor) -> NDArray[Any]:
    flat = tensor.detach().contiguous()
    return (flat.view(torch.uint16) if flat.dtype == torch.bfloat16 else flat).numpy()


def _tensor(array: NDArray[Any], like: Tensor) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if like.dtype == torch.bfloat16 else tensor


def channel_sums(y: Tensor) -> Tensor:
    """Return sums and sums of squares over (B, L), float64 (2, C)."""
    return torch.from_numpy(_fused_cpu.channel_sums(_array(y)))


def pool_activate(y: Tensor, scale: Tensor, shift: Tensor, pool: int) -> Tensor:
    """Return act(max over windows of (y * scale + shift)), shape (B, L // pool, C)."""
    return _tensor(_fused_cpu.pool_activate(_array(y), _array(scale), _array(shift), pool), y)


def pool_activate_grad(
    y: Tensor, scale: Tensor, shift: Tensor, pool: int, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient at each window's maximum z, and sums of (g, g z), float64 (2, C)."""
    at_max, sums = _fused_cpu.pool_activate_grad(
        _array(y), _array(scale), _array(shift), pool, _array(grad)
    )
    return _tensor(at_max, y), torch.from_numpy(sums)


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
    affine = _array(scale), _array(shift)
    line = _array(constant), _array(slope)
    return _tensor(_fused_cpu.spread_grad(_array(y), *affine, pool, _array(grad), *line), y)
