"""Batch correction where cells are placed all at once: by the SVD's start, or by a solve.

What is placed is the sum of a cell's own row and its batch's. Of all ways to divide it, the one
with the smallest squares of the cells' own rows, which is what `l2_cells` asks for, gives each
batch the mean of its cells. Gradients alone would take many epochs to move it there, and random
batch rows would disturb a trunk that begins with cells that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from atlasbasset.core.cells import CellLayer
    from atlasbasset.core.runtime import Runtime

__all__ = ["centre_batches", "clear_batches"]


@torch.no_grad()
def clear_batches(cells: CellLayer) -> None:
    """Set the batches' rows to 0; nothing without batch correction."""
    if cells.batch is not None:
        cells.batch_embedding.zero_()
        cells.batch_intercept.zero_()


@torch.no_grad()
def centre_batches(cells: CellLayer, runtime: Runtime) -> None:
    """Move each batch's mean embedding, over all workers, from its cells to the batch.

    Intercepts, which have no penalty, stay. Nothing without batch correction.
    """
    if cells.batch is None:
        return
    own = cells.embedding.double()
    counted = torch.cat([own, own.new_ones(len(own), 1)], dim=1)
    sums = counted.new_zeros(len(cells.batch_embedding), counted.shape[1])
    sums = runtime.sum_(sums.index_add_(0, cells.batch, counted))
    means = (sums[:, :-1] / sums[:, -1:].clamp_min(1)).to(cells.embedding.dtype)
    cells.batch_embedding.add_(means)
    cells.embedding.sub_(means[cells.batch])
