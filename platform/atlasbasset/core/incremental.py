"""Exact evaluation of sequences with a changed stretch, computing only what the change affects.

A window is embedded once and every layer's input kept (`Reference`). For the same window with some
bases replaced, each layer recomputes only the positions that the change reaches (`reach`): their
inputs are copied from the reference, overwritten by the recomputed ones, and a convolution without
padding gives the new stretch. One substitution needs about a tenth of a full pass
(docs/method.md, "Cost of a pass"). Nothing is approximated: results equal full passes up to the
order of sums.

Everything is in the inference form: normalisation by running statistics folded to scale and shift.
Letters: B windows, L bp, M changes, W changed bp, C channels, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from atlasbasset.core.activation import activate
from atlasbasset.core.augment import one_hot_input
from atlasbasset.core.convolution import (
    MINIMAL_WIDTH,
    channel_multiple,
    pad_channels,
)
from atlasbasset.core.norm_pool import norm_pool_activate_frozen
from atlasbasset.core.reach import Layer, alike, reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.trunk import Stage, Trunk

__all__ = ["Incremental", "Reference", "substitution_effects"]

_BASES = 4
_PAST_END = 5
"""Code of a place past a window's end: nothing, where an unknown base is 0.25 of each."""


@dataclass(frozen=True, eq=False, slots=True)
class Reference:
    """Windows as each stage sees them; made by `Incremental.reference`."""

    inputs: list[Tensor]
    """Input of each stage with its padding, (B, pad + L + pad, C); of the first one codes (B, ...);
    last the output of all stages, (B, L', C)."""
    h: Tensor
    """Embeddings, float32 (B, E)."""
    convolved: list[Tensor | None]
    """Output of each stage's convolution, (B, L, F), where changes are added to it."""


class Incremental:
    """Embeds windows with a changed stretch.

    Parameters
    ----------
    trunk
        In evaluation mode; its weights are copied in the form that the convolutions want.
    compute_dtype
        Of the convolutions: float32, bfloat16 or float64.
    batch
        Changes at once; about 0.1 MB of working memory each in float32, more for wide changes.
    """

    def __init__(
        self, trunk: Trunk, *, compute_dtype: torch.dtype = torch.float32, batch: int = 256
    ) -> None:
        if trunk.training:
            raise ValueError("the trunk must be in evaluation mode: call trunk.eval()")
        self._stages = list(_frozen_stages(trunk, compute_dtype))
        self._layers = [stage.layer for stage in self._stages]
        self._bottleneck = trunk.bottleneck
        self._batch = batch
        self._bases = _activated_bases(compute_dtype, trunk.bottleneck.weight.device)

    @property
    def window_bp(self) -> int:
        """L: length of the windows, bp."""
        return self._layers[0].length

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._bases.device

    @torch.no_grad()
    def reference(self, codes_BL: Tensor) -> Reference:
        """Embed windows and keep what each stage sees of them.

        Parameters
        ----------
        codes_BL
            uint8 (B, L), 0..4. Each window keeps about 1.1 MB in float32 (published sizes).
        """
        inputs, convolved, x = [], [], codes_BL.to(self.device)
        for stage in self._stages:
            pad = stage.pad
            if x.dim() == 2:
                inputs.append(F.pad(x, (pad, pad), value=_PAST_END))
            else:
                inputs.append(F.pad(x, (0, 0, pad, pad)))
            x, y = stage.whole(self._seen(inputs[-1]))
            convolved.append(y)
        return Reference([*inputs, x], self._bottleneck(x), convolved)

    @torch.no_grad()
    def embed(
        self, reference: Reference, rows_M: Tensor, starts_M: Tensor, codes_MW: Tensor
    ) -> Tensor:
        """Embed windows with one stretch replaced.

        Parameters
        ----------
        reference
            Of the windows.
        rows_M
            int64 (M,): which window.
        starts_M
            int64 (M,): where its changed stretch begins, 0 to L - W.
        codes_MW
            uint8 (M, W), 0..4: the bases put there.

        Returns
        -------
        Tensor
            float32 (M, E), on the trunk's device.
        """
        width = codes_MW.shape[1]
        starts = starts_M.cpu().numpy()
        if starts.size and not 0 <= starts.min() <= starts.max() <= self.window_bp - width:
            raise ValueError(f"changes of {width} bp must begin at 0 to {self.window_bp - width}")
        device = self.device
        rows_M, codes_MW = rows_M.to(device), codes_MW.to(device)
        first, count = reached(self._layers, starts, width)
        found = torch.empty(
            len(starts), reference.h.shape[1], dtype=reference.h.dtype, device=device
        )
        for group in alike(count):
            for part in np.split(group, range(self._batch, len(group), self._batch)):
                at = torch.from_numpy(part).to(device)
                stretches = _Stretches(first[part], count[part[0]], device)
                found[at] = self._embed_alike(reference, rows_M[at], codes_MW[at], stretches)
        return found

    def _embed_alike(
        self, reference: Reference, rows_M: Tensor, codes_MW: Tensor, stretches: _Stretches
    ) -> Tensor:
        """Embed changes that reach equally many positions of every layer."""
        new = codes_MW
        for index, stage in enumerate(self._stages):
            if (convolved := reference.convolved[index]) is not None:
                kept = reference.inputs[index], convolved
                new = stage.with_change(kept, rows_M, new, stretches.around(index))
                continue
            first, size = stretches.read(stage.layer, index + 1)
            offset = stretches.first[index] - first
            x = _overlaid(reference.inputs[index], rows_M, first + stage.pad, size, new, offset)
            new = stage(self._seen(x), first=stretches.first[index + 1])
        whole = torch.zeros_like(rows_M)
        last = reference.inputs[-1]
        x = _overlaid(last, rows_M, whole, last.shape[1], new, stretches.first[-1])
        embedded: Tensor = self._bottleneck(x)
        return embedded

    def _seen(self, x: Tensor) -> Tensor:
        """Return what a stage reads: activated bases instead of codes."""
        return self._bases[x.int()] if x.dim() == 2 else x


class _Stretches:
    """Changed stretches of equal sizes, layer by layer, on a device."""

    def __init__(
        self, first: NDArray[np.int64], count: NDArray[np.int64], device: torch.device
    ) -> None:
        self.first = torch.from_numpy(np.ascontiguousarray(first.T)).to(device)
        self._count = count.tolist()

    def read(self, layer: Layer, index: int) -> tuple[Tensor, int]:
        """Return where the inputs of stretch `index` begin, (M,), and how many they are."""
        start, stop = layer.inputs(0, self._count[index])
        return self.first[index] * layer.pool + start, stop - start

    def around(self, index: int) -> tuple[Tensor, Tensor, int]:
        """Return where changed inputs and outputs of a stage begin, (M,), and how many outputs."""
        return self.first[index], self.first[index + 1], self._count[index + 1]


def _overlaid(
    kept: Tensor, rows_M: Tensor, first_M: Tensor, size: int, new: Tensor, offset_M: Tensor
) -> Tensor:
    """Return `size` places of `kept` (B, L, ...) from `first` on with `new` laid over, (M, size).

    `offset` says where in them `new` begins.
    """
    device, picked = kept.device, _picked(kept, rows_M, first_M, size)
    begins = torch.arange(len(rows_M), device=device) * size + offset_M
    at_new = begins[:, None] + torch.arange(new.shape[1], device=device)
    picked.flatten(0, 1).index_copy_(0, at_new.flatten(), new.flatten(0, 1))
    return picked


def _picked(kept: Tensor, rows_M: Tensor, first_M: Tensor, size: int) -> Tensor:
    """Return `size` places of `kept` (B, L, ...) from `first` on, (M, size, ...)."""
    places = torch.arange(size, device=kept.device)
    at = (rows_M * kept.shape[1] + first_M)[:, None] + places
    picked = kept.flatten(0, 1).index_select(0, at.flatten())
    return picked.view(len(rows_M), size, *kept.shape[2:])


class _FrozenStage:
    """A stage in inference form that takes its padding with its input."""

    def __init__(
        self, stage: Stage, layer: Layer, channels: int, dtype: torch.dtype, *, minimal: bool
    ) -> None:
        multiple = channel_multiple(dtype)
        self.layer, self._minimal = layer, None
        self.pad = layer.reach + layer.lead
        self._scale, self._shift = (
            pad_channels(v.detach(), multiple).contiguous() for v in stage.norm.affine()
        )
        self._weight = _as_product(stage.weight.detach(), channels, multiple).to(dtype)
        if minimal:
            from atlasbasset.core.minimal import MinimalConvolution

            self._minimal = MinimalConvolution(stage.weight, channels)

    @property
    def channels(self) -> int:
        """Of the output, padding included."""
        return len(self._scale)

    def __call__(self, x_BLC: Tensor, *, first: Tensor) -> Tensor:
        """Return the pooled outputs that `x`, padding included, is the input of.

        `first` (B,) or (1,) is the position of each one's first output.
        """
        layer, (batch, length, _) = self.layer, x_BLC.shape
        patches = _patches(x_BLC, layer.kernel, self._weight.shape[0])
        y = patches.mm(self._weight).view(batch, length - layer.kernel + 1, self.channels)
        if layer.lead:
            y = _nothing_before(y, first, layer.lead)
        return norm_pool_activate_frozen(y, self._scale, self._shift, pool=layer.pool)

    def with_change(
        self,
        kept: tuple[Tensor, Tensor],
        rows_M: Tensor,
        new: Tensor,
        at: tuple[Tensor, Tensor, int],
    ) -> Tensor:
        """Return the pooled outputs that `new` inputs reach: what changes is added to `kept`.

        `kept` are the windows' padded inputs and their convolution; `at` is of `_Stretches.around`.
        """
        assert self._minimal is not None
        (inputs, convolved), (first_in, first_out, count) = kept, at
        before, pool = _picked(inputs, rows_M, first_in + self.pad, new.shape[1]), self.layer.pool
        first, reached_first = first_out * pool, first_in - self.layer.reach
        places = rows_M, first, reached_first - first
        y = self._minimal.with_change(convolved, new - before, places, count * pool)
        return norm_pool_activate_frozen(y, self._scale, self._shift, pool=pool)

    def whole(self, x_BLC: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return all outputs of a whole padded input, and its convolution if it is to be kept."""
        if self._minimal is not None:
            y = self._minimal.inner_outputs(x_BLC)
            pooled = norm_pool_activate_frozen(y, self._scale, self._shift, pool=self.layer.pool)
            return pooled, y
        start, stop = self.layer.inputs(0, self.layer.pooled)
        first = torch.zeros(1, dtype=torch.int64, device=x_BLC.device)
        return self(x_BLC[:, start + self.pad : stop + self.pad], first=first), None


def _patches(x_BLC: Tensor, kernel: int, size: int) -> Tensor:
    """Return the overlapping rows that a convolution multiplies, (B * (L - kernel + 1), size).

    One large product is faster than a convolution over short stretches: the copy costs less than
    what a convolution loses at their ends.
    """
    batch, length, channels = x_BLC.shape
    x, missing = x_BLC.contiguous(), -(-size // channels) - kernel
    if missing:  # what pads a patch meets zero weights
        x = F.pad(x, (0, 0, 0, missing))
    shape = (batch, length - kernel + 1, size)
    return x.as_strided(shape, (x.stride(0), channels, 1)).reshape(-1, size)


def _nothing_before(y: Tensor, first: Tensor, lead: int) -> Tensor:
    """Put position 0 in the `lead` places before it, where a pooling window holds no more."""
    is_start = (first == 0)[:, None, None]
    before = torch.where(is_start, y[:, lead : lead + 1], y[:, :lead])
    return torch.cat([before, y[:, lead:]], dim=1)


def _as_product(weight_FCK: Tensor, channels: int, multiple: int) -> Tensor:
    """Return a weight as a matrix (patch, F): position-major rows, both sides in whole tiles."""
    weight = pad_channels(pad_channels(weight_FCK, multiple), channels, dim=1)
    return pad_channels(weight.permute(2, 1, 0).flatten(0, 1), multiple).contiguous()


def _frozen_stages(trunk: Trunk, dtype: torch.dtype) -> Iterator[_FrozenStage]:
    length, channels = trunk.config.window_bp, _BASES
    by_minimal = trunk.convolution == "minimal" and dtype == torch.float32
    for stage in trunk.stages():
        layer = Layer(length, stage.weight.shape[2], stage.pool, stage.lead)
        minimal = by_minimal and channels != _BASES and layer.kernel == MINIMAL_WIDTH
        frozen = _FrozenStage(stage, layer, channels, dtype, minimal=minimal)
        yield frozen
        length, channels = layer.pooled, frozen.channels


def _activated_bases(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return what the stem sees of each code, (6, 4): a base, an unknown one, nothing."""
    known = activate(one_hot_input(torch.arange(5, device=device), dtype))
    return F.pad(known, (0, 0, 0, 1))


def substitution_effects(
    engine: Incremental,
    codes_BL: Tensor,
    *,
    start: int,
    stop: int,
    reference: Reference | None = None,
) -> Tensor:
    """Return what every substitution within [start, stop) does to the embedding.

    Parameters
    ----------
    engine
        Of the trunk.
    codes_BL
        uint8 (B, L), 0..4.
    start, stop
        Positions of the windows, 0-based half-open.
    reference
        Of the windows, where it is at hand; made here by default.

    Returns
    -------
    Tensor
        float32 (B, stop - start, 4, E): h with base A, C, G or T there, less h of the window; zero
        for the window's own base. At an unknown base all four are computed.
    """
    codes = codes_BL.to(engine.device)
    if reference is None:
        reference = engine.reference(codes)
    bases = torch.arange(_BASES, dtype=torch.uint8, device=codes.device)
    is_other = codes[:, start:stop, None] != bases
    rows, places, put = is_other.nonzero(as_tuple=True)
    h = engine.embed(reference, rows, places + start, bases[put][:, None])
    effects = h.new_zeros(*is_other.shape, h.shape[1])
    effects[is_other] = h - reference.h[rows]
    return effects
