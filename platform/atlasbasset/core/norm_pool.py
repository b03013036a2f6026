"""Batch normalisation, max-pooling and activation as one differentiable step.

``a = act(maxpool(gamma * (y - mean) / sqrt(var + eps) + beta))`` over length-major y (B, L, C).
The step is written once in terms of four passes over memory; two back ends provide them:
`_fused_cpu` (numba, bfloat16 and float32 on CPU) and `_passes` (plain torch, any dtype and device;
also what the fused one is tested against). Batch statistics can be summed over workers through
`reduce`, forward and backward, so that several workers normalise by the global batch.

With a `lead` the first window begins that many positions before y. Position 0 is repeated there,
which does not change that window's maximum; statistics are of y alone.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from atlasbasset.core import _passes

__all__ = [
    "Moments",
    "Normalised",
    "Reduce",
    "norm_pool_activate",
    "norm_pool_activate_frozen",
    "passes_for",
]

Reduce = Callable[[Tensor], Tensor]
"""Sums a tensor over all workers, in place, and returns it."""


class Normalised(NamedTuple):
    """What normalisation by batch statistics returns."""

    activated: Tensor
    """(B, L // pool, C), the dtype of the input."""
    mean: Tensor
    """(C,) float64, of the global batch."""
    var: Tensor
    """(C,) float64, biased, of the global batch."""


class _Passes(Protocol):
    def channel_sums(self, y: Tensor) -> Tensor: ...
    def pool_activate(self, y: Tensor, scale: Tensor, shift: Tensor, pool: int) -> Tensor: ...
    def pool_activate_grad(
        self, y: Tensor, scale: Tensor, shift: Tensor, pool: int, grad: Tensor
    ) -> tuple[Tensor, Tensor]: ...
    def spread_grad(
        self,
        y: Tensor,
        scale: Tensor,
        shift: Tensor,
        pool: int,
        grad: Tensor,
        constant: Tensor,
        slope: Tensor,
    ) -> Tensor: ...


def passes_for(y: Tensor) -> _Passes:
    """Return the back end for y's dtype and device."""
    fits = y.device.type == "cpu" and y.dtype in (torch.bfloat16, torch.float32)
    if fits and find_spec("numba") is not None:
        from atlasbasset.core import _fused_cpu_tensors

        return _fused_cpu_tensors
    return _passes


class Moments(NamedTuple):
    """What the batch's normalisation computes with: ``(y - mean) * scale + beta``, per channel."""

    gamma: Tensor
    beta: Tensor
    mean: Tensor
    """(C,) float64."""
    var: Tensor
    """(C,) float64."""
    scale: Tensor
    shift: Tensor
    """With `scale`, the normalisation as ``y * scale + shift``, in gamma's dtype."""
    total: Tensor
    """Positions of the global batch, float64."""
    eps: float
    reduce: Reduce | None

    @classmethod
    def of(
        cls,
        sums: Tensor,
        count: int,
        affine: tuple[Tensor, Tensor],
        eps: float,
        reduce: Reduce | None,
    ) -> Moments:
        """Return the moments of `count` positions with `sums`, over all workers' positions."""
        gamma, beta = affine
        sums = _reduced(torch.cat([sums.flatten(), _scalar(count, sums)]), reduce)
        total = sums[-1]
        mean, mean_square = (sums[:-1] / total).view(2, -1)
        var = (mean_square - mean.square()).clamp_min(0)
        scale64 = gamma.double() * torch.rsqrt(var + eps)
        scale, shift = scale64.to(gamma.dtype), (beta.double() - mean * scale64).to(gamma.dtype)
        return cls(gamma, beta, mean, var, scale, shift, total, eps, reduce)

    def gradient(self, sums: Tensor) -> AffineGradient:
        """Return the gradient from `sums` of the one at z, (g, g z), z = gamma * xhat + beta."""
        gamma, beta = self.gamma, self.beta
        # sum(g * xhat) from sum(g * z); gamma = 0 leaves nothing to divide
        safe = torch.where(gamma == 0, torch.ones_like(gamma), gamma).double()
        grad_beta = sums[0]
        grad_gamma = torch.where(gamma == 0, 0.0, (sums[1] - beta.double() * sums[0]) / safe)
        means = _reduced(torch.stack([grad_beta, grad_gamma]), self.reduce) / self.total
        slope = -self.scale.double() * means[1] * torch.rsqrt(self.var + self.eps)
        constant = -self.scale.double() * means[0] - slope * self.mean
        found = (v.to(gamma.dtype) for v in (grad_gamma, grad_beta, constant, slope))
        return AffineGradient(*found)


class AffineGradient(NamedTuple):
    """Gradients of a normalisation; y's is ``constant + slope * y`` beside what maxima get."""

    gamma: Tensor
    beta: Tensor
    constant: Tensor
    slope: Tensor


class _NormPoolActivate(torch.autograd.Function):
    """Forward and backward of the step; y is the only large array kept."""

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        gamma: Tensor,
        beta: Tensor,
        pool: int,
        eps: float,
        reduce: Reduce | None,
        lead: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        passes = passes_for(y)
        count = y.shape[0] * y.shape[1]
        moments = Moments.of(passes.channel_sums(y), count, (gamma, beta), eps, reduce)
        ctx.save_for_backward(y, *moments[:-2])
        ctx.pool, ctx.eps, ctx.reduce, ctx.lead = pool, eps, reduce, lead
        ctx.mark_non_differentiable(moments.mean, moments.var)
        activated = passes.pool_activate(_led(y, lead), moments.scale, moments.shift, pool)
        return activated, moments.mean, moments.var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_unused: Tensor) -> tuple[Tensor | None, ...]:
        y, *saved = ctx.saved_tensors
        moments = Moments._make((*saved, ctx.eps, ctx.reduce))
        scale, shift = moments.scale, moments.shift
        passes, led = passes_for(y), _led(y, ctx.lead)
        at_max, sums = passes.pool_activate_grad(led, scale, shift, ctx.pool, grad.contiguous())
        found = moments.gradient(sums)
        line = found.constant, found.slope
        grad_led = passes.spread_grad(led, scale, shift, ctx.pool, at_max, *line)
        grad_y = _without_lead(grad_led, y, ctx.lead, *line)
        return grad_y, found.gamma, found.beta, None, None, None, None


def norm_pool_activate(
    y: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    pool: int,
    eps: float,
    reduce: Reduce | None = None,
    lead: int = 0,
) -> Normalised:
    """Normalise by the batch's own statistics, max-pool, activate.

    Parameters
    ----------
    y
        (B, L, C), contiguous; L a multiple of `pool`.
    gamma, beta
        (C,), float32 (float64 for float64 `y`). A channel with gamma exactly 0 gets no gradient
        for gamma.
    pool
        Width of the max-pool, 1 for none.
    eps
        Added to the variance.
    reduce
        Sums over workers; None for one worker.
    lead
        Positions before y at which the first window begins, 0 to pool - 1; as many at y's end are
        in no window.
    """
    return Normalised(*_NormPoolActivate.apply(y, gamma, beta, pool, eps, reduce, lead))


def norm_pool_activate_frozen(
    y: Tensor, scale: Tensor, shift: Tensor, *, pool: int, lead: int = 0
) -> Tensor:
    """Inference form: ``act(maxpool(y * scale + shift))``, shape (B, L // pool, C); no gradient."""
    return passes_for(y).pool_activate(_led(y, lead), scale, shift, pool)


def _led(y: Tensor, lead: int) -> Tensor:
    """Return y moved by `lead` positions, position 0 in the places before it."""
    return torch.cat([y[:, :1].expand(-1, lead, -1), y[:, :-lead]], dim=1) if lead else y


def _without_lead(
    grad_led: Tensor, y: Tensor, lead: int, constant: Tensor, slope: Tensor
) -> Tensor:
    """Return y's gradient from that of `_led(y, lead)`.

    Every position has the normalisation's ``constant + slope * y`` once, what a window sends to its
    maximum in addition: position 0 collects from all its places, the last ones are in no window.
    """
    if not lead:
        return grad_led
    wide = torch.promote_types(y.dtype, constant.dtype)
    first = grad_led[:, : lead + 1].to(wide).sum(1, keepdim=True)
    first -= lead * (constant + slope * y[:, :1].to(wide))
    last = constant + slope * y[:, -lead:].to(wide)
    return torch.cat([first.to(y.dtype), grad_led[:, lead + 1 :], last.to(y.dtype)], dim=1)


def _scalar(value: float, like: Tensor) -> Tensor:
    # filled there: a tensor made on the host would have to be waited for
    return torch.full((1,), value, dtype=torch.float64, device=like.device)


def _reduced(tensor: Tensor, reduce: Reduce | None) -> Tensor:
    return tensor if reduce is None else reduce(tensor.clone())
