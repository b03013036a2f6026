"""Binary cross-entropy of a factored prediction with sparse labels, fused with its gradients.

``loss = sum over (p, c) of softplus(z) - sum over positives of z``, ``z = h @ W.T + b`` (method,
"Cell layer and loss"). Logits are made, used and dropped one tile of cells at a time, forward and
backward together, so memory does not grow with the number of cells and labels are never dense.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["CellTable", "LossAndGradients", "Positives", "fused_bce"]

TILE_CELLS = 2048
"""Cells per tile; 1-4 thousand keep a tile of logits in the CPU's cache."""


class Positives(NamedTuple):
    """The open (peak, cell) pairs of one step, sorted by cell."""

    cell: Tensor
    """(K,) int64, row of the cell table, ascending."""
    row: Tensor
    """(K,) int64, row of the batch."""


class CellTable(NamedTuple):
    """The final layer as it acts: one row per cell.

    With batch correction the row is the cell's own plus its batch's
    (``(h . V + c) @ onehot(batch)`` is one more term of the same form).
    """

    embedding: Tensor
    """(N, E) float32."""
    intercept: Tensor
    """(N,) float32."""
    batch: Tensor | None = None
    """(N,) int64, row of the batch tables; None without batch correction."""
    batch_embedding: Tensor | None = None
    """(n_batches, E) float32."""
    batch_intercept: Tensor | None = None
    """(n_batches,) float32."""

    def tile(self, cells: slice) -> tuple[Tensor, Tensor]:
        """Return the effective (embedding, intercept) of a run of cells."""
        embedding, intercept = self.embedding[cells], self.intercept[cells]
        if self.batch is None or self.batch_embedding is None or self.batch_intercept is None:
            return embedding, intercept
        batch = self.batch[cells]
        return embedding + self.batch_embedding[batch], intercept + self.batch_intercept[batch]


class LossAndGradients(NamedTuple):
    """Loss summed over peaks and cells, and its gradients times the caller's `scale`."""

    loss_sum: Tensor
    """Scalar float64, unscaled."""
    h: Tensor
    """(B, E)."""
    embedding: Tensor
    """(N, E), of the effective table."""
    intercept: Tensor
    """(N,), of the effective table."""


def fused_bce(
    h_BE: Tensor,
    table: CellTable,
    positives: Positives,
    *,
    scale: float = 1.0,
    tile_cells: int = TILE_CELLS,
) -> LossAndGradients:
    """Return the summed loss over all (peak, cell) pairs and its gradients.

    Parameters
    ----------
    h_BE
        (B, E) embeddings of the batch's peaks; no gradient is tracked.
    table
        The cells; any float dtype, the same as `h_BE`.
    positives
        Open pairs sorted by cell.
    scale
        Gradients are multiplied by this (``1 / (B N)`` for the mean).
    tile_cells
        Cells per tile; lower it when memory is short: B x tile values live at once.
    """
    n_cells = table.embedding.shape[0]
    h = h_BE.detach()
    starts = torch.arange(0, n_cells + tile_cells, tile_cells, device=h.device).clamp_(max=n_cells)
    bounds = torch.searchsorted(positives.cell, starts).tolist()
    grad_h, loss_sum = torch.zeros_like(h), torch.zeros((), dtype=torch.float64, device=h.device)
    grad_embedding = torch.empty_like(table.embedding)
    grad_intercept = torch.empty_like(table.intercept)
    for index, start in enumerate(range(0, n_cells, tile_cells)):
        cells = slice(start, min(start + tile_cells, n_cells))
        hits = slice(bounds[index], bounds[index + 1])
        embedding, intercept = table.tile(cells)
        logits = torch.addmm(intercept, h, embedding.T)
        at = positives.row[hits], positives.cell[hits] - start
        loss_sum += softplus(logits).sum(dtype=torch.float64) - logits[at].sum(dtype=torch.float64)
        residual = logits.sigmoid_()
        residual[at] -= 1
        residual *= scale
        grad_h.addmm_(residual, embedding)
        torch.mm(residual.T, h, out=grad_embedding[cells])
        torch.sum(residual, 0, out=grad_intercept[cells])
    return LossAndGradients(loss_sum, grad_h, grad_embedding, grad_intercept)
