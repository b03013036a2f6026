"""Floating-point operations of embedding a whole window, or a changed stretch of it.

Convolutions and the bottleneck, a multiplication and an addition each; everything else is left out.
Estimated from the architecture alone, for plans before anything is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.core.reach import Layer, reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlasbasset.core.config import TrunkConfig

__all__ = ["change_flops", "pass_bytes", "pass_flops", "reference_bytes"]

_BASES = 4
_FLOAT_BYTES = 4


def pass_flops(config: TrunkConfig) -> int:
    """Return the operations of one full pass (0.93e9 for the published model)."""
    convolutions = sum(layer.length * each for layer, each in _layers(config))
    return convolutions + _bottleneck_flops(config)


def change_flops(config: TrunkConfig, start: int, width: int) -> int:
    """Return the operations of one window with [start, start + width), half-open, replaced.

    The reference pass is not in it: it is shared by all changes of a window.
    """
    layers = list(_layers(config))
    _, counts = reached([layer for layer, _ in layers], np.array([start]), width)
    changed = (
        int(count) * layer.pool * each
        for count, (layer, each) in zip(counts[0, 1:], layers, strict=True)
    )
    return sum(changed) + _bottleneck_flops(config)


def reference_bytes(config: TrunkConfig) -> int:
    """Return the memory of one window's `Reference` in float32, padding of channels left out."""
    channels = (config.stem_filters, *config.tower_filters, config.prebottleneck_filters)
    lengths = [layer.pooled for layer, _ in _layers(config)]
    values = sum(length * each for length, each in zip(lengths, channels, strict=True))
    return config.window_bp + _FLOAT_BYTES * values


def pass_bytes(config: TrunkConfig) -> int:
    """Return the working memory of a window's full pass in float32: its largest unfolded input."""
    channels = (_BASES, config.stem_filters, *config.tower_filters)
    layers = (layer for layer, _ in _layers(config))
    unfolded = (
        layer.length * layer.kernel * each for layer, each in zip(layers, channels, strict=True)
    )
    return _FLOAT_BYTES * max(unfolded)


def _layers(config: TrunkConfig) -> Iterator[tuple[Layer, int]]:
    """Yield each convolution's geometry and its operations per position."""
    length, channels = config.window_bp, _BASES
    stem = (config.stem_filters, config.stem_kernel, config.stem_pool, config.stem_pool_lead)
    tower = ((filters, config.tower_kernel, 2, 0) for filters in config.tower_filters)
    for filters, kernel, pool, lead in (stem, *tower, (config.prebottleneck_filters, 1, 1, 0)):
        layer = Layer(length, kernel, pool, lead)
        yield layer, 2 * kernel * channels * filters
        length, channels = layer.pooled, filters


def _bottleneck_flops(config: TrunkConfig) -> int:
    return 2 * config.final_length * config.prebottleneck_filters * config.embedding_dim
