"""The cell layer's parameters: one embedding and intercept per cell, and per batch.

A worker holds the cells of its own blocks; batch tables are small and held by all. Starting values
are drawn block by block from (seed, block), so they do not depend on how many workers there are.
A step may use a sample of the cells, given by `Tiles`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from atlasbasset.core.loss_types import CellTable
from atlasbasset.core.trunk import he_normal_

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.core.loss_types import LossAndGradients

__all__ = ["CellGradients", "CellLayer", "Tiles", "rows_of"]

Tiles = tuple[slice, ...] | None
"""The cells a step acts on: runs of this worker's rows, ascending, or None for all."""


class CellGradients(NamedTuple):
    """Gradients of the cells a step acts on."""

    embedding: Tensor
    """(n, E)."""
    intercept: Tensor
    """(n,)."""


def rows_of(table: Tensor, tiles: Tiles) -> Tensor:
    """Return the rows of `tiles`: a copy, or `table` itself for all."""
    if tiles is None:
        return table
    return torch.cat([table[tile] for tile in tiles]) if tiles else table[:0]


class CellLayer(nn.Module):
    """Embeddings and intercepts of this worker's cells.

    Parameters
    ----------
    n_cells
        N, this worker's cells.
    embedding_dim
        E.
    batch
        (N,) int64, each cell's batch; None without batch correction.
    n_batches
        Rows of the batch tables; 0 without batch correction.
    """

    def __init__(
        self, n_cells: int, embedding_dim: int, *, batch: Tensor | None = None, n_batches: int = 0
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(n_cells, embedding_dim))
        self.intercept = nn.Parameter(torch.zeros(n_cells))
        self.batch: Tensor | None
        self.register_buffer("batch", batch, persistent=False)
        self.batch_embedding = nn.Parameter(torch.zeros(n_batches, embedding_dim))
        self.batch_intercept = nn.Parameter(torch.zeros(n_batches))

    @torch.no_grad()
    def initialise(self, block_cells: Sequence[tuple[int, int]], *, seed: int) -> None:
        """Draw He-normal embeddings; `block_cells` lists this worker's (block index, cells)."""
        fan_in, start = self.embedding.shape[1], 0
        for block, cells in block_cells:
            generator = torch.Generator().manual_seed(seed + 1_000_003 * (block + 2))
            rows = torch.empty(cells, fan_in)
            he_normal_(rows, fan_in, generator)
            self.embedding[start : start + cells] = rows
            start += cells
        generator = torch.Generator().manual_seed(seed + 1_000_003)
        if self.batch_embedding.numel():
            he_normal_(self.batch_embedding, fan_in, generator)

    def table(self, tiles: Tiles = None) -> CellTable:
        """Return the cells of `tiles` as the loss sees them, without gradients."""
        own = rows_of(self.embedding.detach(), tiles), rows_of(self.intercept.detach(), tiles)
        if self.batch is None:
            return CellTable(*own)
        shared = self.batch_embedding.detach(), self.batch_intercept.detach()
        return CellTable(*own, rows_of(self.batch, tiles), *shared)

    @torch.no_grad()
    def penalty(self, l2_cells: float, l2_batch: float) -> tuple[Tensor, Tensor]:
        """Return ``l2_cells * sum(W^2)`` of this worker's cells and ``l2_batch * sum(V^2)``."""
        if not l2_cells and not l2_batch:
            zero = torch.zeros((), dtype=torch.float64, device=self.embedding.device)
            return zero, zero
        own = self.embedding.square().sum(dtype=torch.float64) * l2_cells
        return own, self.batch_embedding.square().sum(dtype=torch.float64) * l2_batch

    @torch.no_grad()
    def gradients(
        self, found: LossAndGradients, table: CellTable, *, l2_cells: float
    ) -> CellGradients:
        """Turn gradients of the effective table into those of the parameters.

        A batch's row collects, in ``.grad``, the sum over its cells held *here*: sum it over
        workers afterwards. The batch penalty's share is added by `add_batch_penalty`, once, after
        that sum.

        Parameters
        ----------
        found
            Of `table`, whose memory is taken over.
        l2_cells
            The weight times how much more than itself a cell stands for in this step.
        """
        if table.batch is not None:
            zeros = torch.zeros_like(self.batch_embedding), torch.zeros_like(self.batch_intercept)
            self.batch_embedding.grad = zeros[0].index_add_(0, table.batch, found.embedding)
            self.batch_intercept.grad = zeros[1].index_add_(0, table.batch, found.intercept)
        embedding = found.embedding
        if l2_cells:
            embedding.add_(table.embedding, alpha=2 * l2_cells)
        return CellGradients(embedding, found.intercept)

    @torch.no_grad()
    def add_batch_penalty(self, l2_batch: float) -> None:
        """Add the gradient of ``l2_batch * sum(V^2)``."""
        if self.batch_embedding.grad is not None and l2_batch:
            self.batch_embedding.grad.add_(self.batch_embedding, alpha=2 * l2_batch)

    def shared_parameters(self) -> list[nn.Parameter]:
        """Return the parameters every worker holds whole: the batch tables."""
        return [] if self.batch is None else [self.batch_embedding, self.batch_intercept]
