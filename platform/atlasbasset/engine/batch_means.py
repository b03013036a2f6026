"""The paper's plain form of batch correction where cells are placed all at once: each batch's mean.

It suits batches of the same composition only: see `atlasbasset.engine.batch_effects` for the other.
What is placed is the sum of a cell's own row w and its batch's v. Of all ways to divide it, the one
with the least penalty, ``sum |w|^2 + pull |v|^2``, moves ``(sum of w - pull v) / (cells + pull)``
from a batch's cells to the batch: their mean where batch rows have no penalty. Gradients alone
would take many epochs to move it there, and random batch rows would disturb a trunk that begins
with cells that fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from torch import Tensor

    from atlasbasset.core.cells import CellLayer
    from atlasbasset.core.runtime import Runtime

_TILE_CELLS = 65_536

__all__ = ["centre_batches", "clear_batches", "give_to_batches", "set_batches"]


@torch.no_grad()
def clear_batches(cells: CellLayer) -> None:
    """Set the batches' rows to 0; nothing without batch correction."""
    if cells.batch is not None:
        cells.batch_embedding.zero_()
        cells.batch_intercept.zero_()


@torch.no_grad()
def centre_batches(cells: CellLayer, runtime: Runtime, *, pull: float = 0.0) -> None:
    """Divide what cells and their batches have together so that the penalties are least.

    Intercepts, which have no penalty, stay. Nothing without batch correction.

    Parameters
    ----------
    pull
        Weight of a batch row's square against a cell row's, 0 or more.
    """
    if cells.batch is None:
        return
    table = cells.batch_embedding
    sums = torch.zeros(len(table), table.shape[1] + 1, dtype=torch.float64, device=table.device)
    for start, stop in runs(len(cells.batch), _TILE_CELLS):
        own = cells.embedding[start:stop].double()
        counted = torch.cat([own, own.new_ones(len(own), 1)], dim=1)
        sums.index_add_(0, cells.batch[start:stop], counted)
    sums = runtime.sum_(sums)
    moved = (sums[:, :-1] - pull * table) / (sums[:, -1:] + pull).clamp_min(1)
    give_to_batches(cells, moved)


@torch.no_grad()
def give_to_batches(cells: CellLayer, moved: Tensor) -> None:
    """Add `moved`, (B, E), to the batches' rows and take it from their cells': sums stay."""
    assert cells.batch is not None
    shift = moved.to(cells.batch_embedding)
    cells.batch_embedding.add_(shift)
    for start, stop in runs(len(cells.batch), _TILE_CELLS):
        cells.embedding[start:stop] -= shift[cells.batch[start:stop]]


@torch.no_grad()
def set_batches(cells: CellLayer, rows: Tensor) -> None:
    """Make `rows`, (B, E), the batches' rows; sums stay."""
    give_to_batches(cells, rows.to(cells.batch_embedding.device) - cells.batch_embedding)
