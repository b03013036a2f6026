"""The trunk's architecture as one frozen dataclass; its defaults are the published model."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["TrunkConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrunkConfig:
    """Sizes of the sequence network (docs/method.md, "Trunk").

    The defaults are the paper's model: 4,513,960 trainable parameters.
    """

    window_bp: int = 1344
    """Sequence length, bp; a positive multiple of `pool_bp`."""
    stem_filters: int = 288
    """Filters of the first convolution."""
    stem_kernel: int = 17
    """Width of the first convolution, bp; odd."""
    stem_pool: int = 3
    """Max-pool width after the first convolution."""
    stem_pool_lead: int = 0
    """Positions before the sequence at which that max-pool begins, 0 to stem_pool - 1 (1 in
    scvi-tools' port of the model)."""
    tower_filters: tuple[int, ...] = (288, 323, 363, 407, 456, 512)
    """Filters of each tower convolution; each is followed by max-pool 2."""
    tower_kernel: int = 5
    """Width of the tower's convolutions, positions; odd."""
    prebottleneck_filters: int = 256
    """Filters of the width-1 convolution before the bottleneck."""
    embedding_dim: int = 32
    """E: width of the bottleneck and of a cell's embedding."""
    dropout: float = 0.2
    """Share of bottleneck units dropped in training, [0, 1)."""
    bn_eps: float = 1e-3
    """Added to the variance in batch normalisation."""
    bn_momentum: float = 0.1
    """Weight of the new batch in the running statistics, (0, 1]."""

    def __post_init__(self) -> None:
        if self.window_bp <= 0 or self.window_bp % self.pool_bp:
            raise ValueError(
                f"window_bp must be a positive multiple of {self.pool_bp} (the pools' product), "
                f"got {self.window_bp}"
            )
        if self.stem_kernel % 2 == 0 or self.tower_kernel % 2 == 0:
            raise ValueError("stem_kernel and tower_kernel must be odd ('same' padding)")
        if not 0 <= self.stem_pool_lead < self.stem_pool:
            raise ValueError(
                f"stem_pool_lead must be 0 to {self.stem_pool - 1}, got {self.stem_pool_lead}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def pool_bp(self) -> int:
        """Base pairs that one position after all pools stands for (192 in the published model)."""
        return self.stem_pool * int(math.prod([2] * len(self.tower_filters)))

    @property
    def final_length(self) -> int:
        """Positions left after all pools (7 in the published model)."""
        return self.window_bp // self.pool_bp
