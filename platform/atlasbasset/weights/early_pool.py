"""The stem as scvi-tools' port pools it: the first window begins before the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atlasbasset.core.convolution import convolve_bases
from atlasbasset.core.trunk import Stage, Trunk

if TYPE_CHECKING:
    from torch import Tensor

    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.core.norm_pool import Reduce

__all__ = ["EarlyPoolStage", "trunk_for"]


class EarlyPoolStage(Stage):
    """A stem whose max-pool windows begin at position -1; the last position is left out.

    The first position stands twice in the first window, which leaves its maximum as it is. In
    training mode the batch's statistics count it twice as well.
    """

    def forward(self, x_BLC: Tensor, *, reduce: Reduce | None = None) -> Tensor:
        """Return (B, L // pool, F), activated; F padded to the hardware's multiple."""
        y = convolve_bases(x_BLC, self.weight)
        moved = torch.cat([y[:, :1], y[:, :-1]], dim=1)
        out: Tensor = self.norm(moved, pool=self.pool, reduce=reduce)
        return out


def trunk_for(config: TrunkConfig, *, stem_pool_lead: int = 0) -> Trunk:
    """Return an untrained trunk whose stem pools as `PublishedWeights.stem_pool_lead` says."""
    trunk = Trunk(config)
    if stem_pool_lead not in (0, 1):
        raise ValueError(f"stem_pool_lead is 0 or 1, got {stem_pool_lead}")
    if stem_pool_lead:
        shape = (config.stem_filters, 4, config.stem_kernel)
        trunk.stem = EarlyPoolStage(shape, pool=config.stem_pool, config=config)
    return trunk
