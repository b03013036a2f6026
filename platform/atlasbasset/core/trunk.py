"""The trunk: 1,344 bp of DNA in, 32 numbers out (docs/method.md, "Trunk").

The stages are the published ones; each is a convolution followed by one fused step of batch
normalisation, max-pooling and the *next* stage's activation (the released code activates first, so
the input is activated once and every other activation is part of a fused step). Data are
length-major, (B, L, C). The module does not depend on workers: `reduce` sums batch statistics when
there are several.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from atlasbasset.core.activation import activate
from atlasbasset.core.convolution import (
    MINIMAL_WIDTH,
    PatchConvolution,
    convolve,
    convolve_bases,
    pad_channels,
    padded_channels,
)
from atlasbasset.core.norm_pool import Reduce, norm_pool_activate, norm_pool_activate_frozen
from atlasbasset.core.stage_parts import (
    PartwiseConvolution,
    convolve_frozen,
    convolve_norm_pool_activate,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.core.compute import Convolution
    from atlasbasset.core.config import TrunkConfig

__all__ = ["BatchNorm", "Stage", "Trunk", "he_normal_"]

_READOUT = ("readout_weight", "readout_offset")
_TRUNCATION_SD = 0.87962566103423978  # sd of a unit normal cut at +-2: Keras divides by it


def he_normal_(weight: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Fill `weight` as Keras' ``he_normal`` does: normal cut at 2 sd, variance 2 / fan_in."""
    sd = math.sqrt(2 / fan_in) / _TRUNCATION_SD
    nn.init.trunc_normal_(weight, std=sd, a=-2 * sd, b=2 * sd, generator=generator)


class BatchNorm(nn.Module):
    """Gain, offset and running statistics of one normalisation, float32 (C,)."""

    gamma: nn.Parameter
    beta: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(
        self, y: Tensor, *, pool: int, reduce: Reduce | None = None, lead: int = 0
    ) -> Tensor:
        """Return act(maxpool(normalise(y))): by the batch's statistics in training mode."""
        affine = self.padded(y.shape[-1])
        if not self.training:
            return norm_pool_activate_frozen(y, *affine, pool=pool, lead=lead)
        out = norm_pool_activate(y, *affine, pool=pool, eps=self.eps, reduce=reduce, lead=lead)
        self.remember(out.mean, out.var)
        return out.activated

    def padded(self, channels: int) -> tuple[Tensor, Tensor]:
        """Return (gamma, beta), in evaluation mode (scale, shift), padded to (channels,)."""
        first, second = (self.gamma, self.beta) if self.training else self.affine()
        return pad_channels(first, channels), pad_channels(second, channels)

    def affine(self) -> tuple[Tensor, Tensor]:
        """Return the inference form: (scale, shift), each (C,)."""
        scale = self.gamma * torch.rsqrt(self.running_var + self.eps)
        return scale, self.beta - self.running_mean * scale

    @torch.no_grad()
    def remember(self, mean: Tensor, var: Tensor) -> None:
        """Let the running statistics follow a batch's."""
        channels = self.running_mean.shape[0]
        self.running_mean.lerp_(mean[:channels].to(self.running_mean.dtype), self.momentum)
        # the biased variance, as Keras keeps it
        self.running_var.lerp_(var[:channels].to(self.running_var.dtype), self.momentum)


class Stage(nn.Module):
    """One convolution and the normalise-pool-activate step after it."""

    def __init__(
        self, shape: tuple[int, int, int], *, pool: int, config: TrunkConfig, lead: int = 0
    ) -> None:
        super().__init__()
        self.pool, self.lead = pool, lead
        self.weight = nn.Parameter(torch.empty(shape))
        self.norm = BatchNorm(shape[0], eps=config.bn_eps, momentum=config.bn_momentum)

    def forward(
        self, x_BLC: Tensor, *, reduce: Reduce | None = None, convolution: Convolution = "direct"
    ) -> Tensor:
        """Return (B, L // pool, F), activated; F padded to the hardware's multiple."""
        if convolution == "minimal" and (kind := self._by_parts(x_BLC)) is not None:
            return self._forward_by_parts(x_BLC, kind, reduce)
        convolve_ = convolve_bases if x_BLC.shape[2] == 4 else convolve
        y = convolve_(x_BLC, self.weight)
        out: Tensor = self.norm(y, pool=self.pool, reduce=reduce, lead=self.lead)
        return out

    def _by_parts(self, x_BLC: Tensor) -> type[PartwiseConvolution] | None:
        """Return the convolution that works part by part on `x`, or None where there is none."""
        if self.lead or x_BLC.dtype != torch.float32 or x_BLC.device.type != "cpu":
            return None
        if x_BLC.shape[2] == 4:
            return PatchConvolution
        if self.weight.shape[2] != MINIMAL_WIDTH:
            return None
        from atlasbasset.core.minimal import MinimalConvolution

        return MinimalConvolution

    def _forward_by_parts(
        self, x: Tensor, kind: type[PartwiseConvolution], reduce: Reduce | None
    ) -> Tensor:
        norm, filters = self.norm, padded_channels(len(self.weight), x.dtype)
        affine = norm.padded(filters)
        if not norm.training:
            return convolve_frozen(x, kind(self.weight, x.shape[2]), *affine, pool=self.pool)
        out = convolve_norm_pool_activate(
            x, self.weight, *affine, kind, pool=self.pool, eps=norm.eps, reduce=reduce
        )
        norm.remember(out.mean, out.var)
        return out.activated


class Trunk(nn.Module):
    """The sequence network, one-hot (B, L, 4) to embeddings (B, E).

    Parameters
    ----------
    config
        Sizes; the defaults are the published model.
    convolution
        How float32 convolutions on CPU are computed; other ones are direct.
    """

    def __init__(self, config: TrunkConfig, *, convolution: Convolution = "direct") -> None:
        super().__init__()
        self.config, self.convolution = config, convolution
        channels = (config.stem_filters, *config.tower_filters)
        stem_shape = (config.stem_filters, 4, config.stem_kernel)
        self.stem = Stage(
            stem_shape, pool=config.stem_pool, config=config, lead=config.stem_pool_lead
        )
        self.tower = nn.ModuleList(
            Stage((c_out, c_in, config.tower_kernel), pool=2, config=config)
            for c_in, c_out in itertools.pairwise(channels)
        )
        width = config.prebottleneck_filters
        self.prebottleneck = Stage((width, channels[-1], 1), pool=1, config=config)
        self.bottleneck = Bottleneck(width * config.final_length, config)

    @classmethod
    def initialised(cls, config: TrunkConfig, *, seed: int) -> Trunk:
        """Return a trunk with He-normal weights drawn from `seed`."""
        trunk = cls(config)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for stage in trunk.stages():
                he_normal_(stage.weight, stage.weight[0].numel(), generator)
            dense = trunk.bottleneck.weight
            he_normal_(dense, dense.shape[1], generator)
        return trunk

    def stages(self) -> list[Stage]:
        """Return the convolutional stages in order: stem, tower, pre-bottleneck."""
        tower = [stage for stage in self.tower if isinstance(stage, Stage)]
        return [self.stem, *tower, self.prebottleneck]

    def forward(
        self,
        x_BL4: Tensor,
        *,
        keep_BE: Tensor | None = None,
        reduce: Reduce | None = None,
        compute_dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Embed sequences.

        Parameters
        ----------
        x_BL4
            (B, L, 4) in order A, C, G, T; 0.25 in each channel where the base is unknown.
        keep_BE
            (B, E) 0/1: which bottleneck units survive dropout (training mode only; None keeps all).
        reduce
            Sums batch statistics over workers; None for one worker.
        compute_dtype
            Of the convolutions: bfloat16, float32 or float64. The bottleneck is never narrower
            than float32.

        Returns
        -------
        Tensor
            (B, E), float32 (float64 for float64 computation).
        """
        x = activate(x_BL4.to(compute_dtype))
        for stage in self.stages():
            x = stage(x, reduce=reduce, convolution=self.convolution)
        embedded: Tensor = self.bottleneck(x, keep_BE=keep_BE, reduce=reduce)
        return embedded


class Bottleneck(nn.Module):
    """Flatten, dense, normalise, dropout, activate: (B, L', C) to (B, E).

    Where peaks have deviated from their sequences, a linear readout follows, fixed: what a
    sequence's embedding says of its peak's (`peak_deviations.Readout`). State dicts have it then.
    """

    readout_weight: Tensor | None
    readout_offset: Tensor | None

    def __init__(self, inputs: int, config: TrunkConfig) -> None:
        super().__init__()
        self.dropout, self.channels = config.dropout, config.prebottleneck_filters
        self.weight = nn.Parameter(torch.empty(config.embedding_dim, inputs))
        self.norm = BatchNorm(config.embedding_dim, eps=config.bn_eps, momentum=config.bn_momentum)
        for name in _READOUT:
            self.register_buffer(name, None)

    def forward(
        self, x_BLC: Tensor, *, keep_BE: Tensor | None = None, reduce: Reduce | None = None
    ) -> Tensor:
        """Return the embeddings (B, E)."""
        wide = self.weight.dtype
        # position-major, as Keras flattens; the length-major layout already is
        flat = x_BLC[:, :, : self.channels].flatten(1).to(wide)
        h = activate(self._dropped(self._normalised(flat @ self.weight.T, reduce), keep_BE))
        if self.readout_weight is None or self.readout_offset is None:
            return h
        return h @ self.readout_weight + self.readout_offset

    def append_readout(self, weight_EE: Tensor, offset_E: Tensor) -> None:
        """Read embeddings out further, ``h @ weight + offset``, after the readout that is there."""
        if self.readout_weight is not None and self.readout_offset is not None:
            offset_E = self.readout_offset.to(weight_EE) @ weight_EE + offset_E
            weight_EE = self.readout_weight.to(weight_EE) @ weight_EE
        self.readout_weight = weight_EE.to(self.weight)
        self.readout_offset = offset_E.to(self.weight)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Have a readout where the state has one, and none where it has none."""
        width = len(self.weight)
        has_readout = any(prefix + name in state_dict for name in _READOUT)
        for name, shape in zip(_READOUT, ((width, width), (width,)), strict=True):
            setattr(self, name, self.weight.new_zeros(shape) if has_readout else None)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _normalised(self, y_BE: Tensor, reduce: Reduce | None) -> Tensor:
        norm = self.norm
        if not norm.training:
            scale, shift = norm.affine()
            return y_BE * scale + shift
        total = torch.cat([y_BE.sum(0), y_BE.new_full((1,), y_BE.shape[0])])
        total = _summed(total, reduce)
        mean = total[:-1] / total[-1]
        centred = y_BE - mean
        var = _summed(centred.square().sum(0), reduce) / total[-1]
        norm.remember(mean.detach(), var.detach())
        return centred * torch.rsqrt(var + norm.eps) * norm.gamma + norm.beta

    def _dropped(self, y_BE: Tensor, keep_BE: Tensor | None) -> Tensor:
        if not self.training or keep_BE is None:
            return y_BE
        return y_BE * keep_BE.to(y_BE.dtype) / (1 - self.dropout)


class _SumOverWorkers(torch.autograd.Function):
    """All-reduce whose gradient is an all-reduce: every worker's loss depends on the sum."""

    @staticmethod
    def forward(ctx: object, value: Tensor, reduce: Reduce) -> Tensor:
        ctx.reduce = reduce  # type: ignore[attr-defined]
        return reduce(value.clone())

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.reduce(grad.clone()), None  # type: ignore[attr-defined]


def _summed(value: Tensor, reduce: Reduce | None) -> Tensor:
    if reduce is None:
        return value
    summed: Tensor = _SumOverWorkers.apply(value, reduce)
    return summed
