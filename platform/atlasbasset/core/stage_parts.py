"""A convolution and its normalise-pool-activate step, a few sequences at a time.

On a CPU the passes after a convolution cost as much as they move through memory. Here a part of the
batch goes through all passes that need no sum over the whole batch while it is in the cache: the
convolution and its channel sums; backward the gradient of the convolution's output, which is never
in memory whole, and both of the convolution's gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from atlasbasset.core.norm_pool import Moments, Normalised, Reduce, passes_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["PartwiseConvolution", "convolve_frozen", "convolve_norm_pool_activate"]

_ROWS = 8192
"""Rows of a part, about: large enough for matrix products, small enough for a cache."""


class PartwiseConvolution(Protocol):
    """A convolution of a batch that is seen part by part."""

    def __init__(self, weight_FCK: Tensor, channels: int, /) -> None: ...

    def outputs(self, x_BLC: Tensor, out_BLF: Tensor) -> None:
        """Write the outputs of some sequences."""
        ...

    def add_gradients(self, x_BLC: Tensor, grad_BLF: Tensor, grad_x_BLC: Tensor | None) -> None:
        """Add to the weight's gradient; write the input's where it is wanted."""
        ...

    def weight_grad(self) -> Tensor:
        """Return the sum over all parts, of the weight's shape, and begin another."""
        ...


def _parts(x_BLC: Tensor) -> Iterator[slice]:
    size = max(1, _ROWS // x_BLC.shape[1])
    for first in range(0, len(x_BLC), size):
        yield slice(first, min(first + size, len(x_BLC)))


class _ConvolveNormPoolActivate(torch.autograd.Function):
    """Keeps the input and the convolution's output."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        kind: type[PartwiseConvolution],
        pool: int,
        eps: float,
        reduce: Reduce | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        convolution = kind(weight, x.shape[2])
        y = x.new_empty(*x.shape[:2], gamma.shape[0])
        passes, sums = passes_for(y), gamma.new_zeros(2, len(gamma), dtype=torch.float64)
        for part in _parts(x):
            convolution.outputs(x[part], y[part])
            sums += passes.channel_sums(y[part])
        moments = Moments.of(sums, len(y) * y.shape[1], (gamma, beta), eps, reduce)
        ctx.save_for_backward(x, y, *moments[:-2])
        ctx.convolution, ctx.pool, ctx.eps, ctx.reduce = convolution, pool, eps, reduce
        ctx.mark_non_differentiable(moments.mean, moments.var)
        activated = passes.pool_activate(y, moments.scale, moments.shift, pool)
        return activated, moments.mean, moments.var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_unused: Tensor) -> tuple[Tensor | None, ...]:
        x, y, *saved = ctx.saved_tensors
        moments = Moments._make((*saved, ctx.eps, ctx.reduce))
        affine, passes = (moments.scale, moments.shift, ctx.pool), passes_for(y)
        at_max, sums = passes.pool_activate_grad(y, *affine, grad.contiguous())
        found = moments.gradient(sums)
        convolution: PartwiseConvolution = ctx.convolution
        grad_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for part in _parts(x):
            line = found.constant, found.slope
            grad_y = passes.spread_grad(y[part], *affine, at_max[part], *line)
            convolution.add_gradients(x[part], grad_y, None if grad_x is None else grad_x[part])
        return grad_x, convolution.weight_grad(), found.gamma, found.beta, None, None, None, None


def convolve_norm_pool_activate(
    x: Tensor,
    weight: Tensor,
    gamma: Tensor,
    beta: Tensor,
    kind: type[PartwiseConvolution],
    *,
    pool: int,
    eps: float,
    reduce: Reduce | None = None,
) -> Normalised:
    """Convolve, normalise by the batch's own statistics, max-pool, activate.

    Parameters
    ----------
    x
        float32 (B, L, C) on CPU, contiguous; L a multiple of `pool`.
    weight
        (F, C, K), as it is stored; C is at most the channels of `x`.
    gamma, beta, pool, eps, reduce
        See `norm_pool_activate`; the filters padded.
    kind
        The convolution.
    """
    rest = kind, pool, eps, reduce
    return Normalised(*_ConvolveNormPoolActivate.apply(x, weight, gamma, beta, *rest))


@torch.no_grad()
def convolve_frozen(
    x: Tensor,
    convolution: PartwiseConvolution,
    scale: Tensor,
    shift: Tensor,
    *,
    pool: int,
) -> Tensor:
    """Inference form: ``act(maxpool(convolution(x) * scale + shift))``; no gradient."""
    passes, activated = passes_for(x), []
    x = x.detach()
    for part in _parts(x):
        y = x.new_empty(*x[part].shape[:2], len(scale))
        convolution.outputs(x[part], y)
        activated.append(passes.pool_activate(y, scale, shift, pool))
    return torch.cat(activated)
