"""Reference of the fused loss: the dense computation by autograd, in any dtype."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from atlasbasset.core.loss_types import CellTable, Positives


def random_case(
    n_peaks: int,
    n_cells: int,
    *,
    seed: int = 0,
    density: float = 0.2,
    n_batches: int = 0,
    embedding_dim: int = 8,
) -> tuple[Tensor, CellTable, Tensor]:
    """Return h, a cell table and bool labels (peaks, cells)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    h, table = (
        normal(n_peaks, embedding_dim),
        CellTable(normal(n_cells, embedding_dim), normal(n_cells)),
    )
    if n_batches:
        batch = torch.randint(0, n_batches, (n_cells,), generator=generator)
        table = CellTable(*table[:2], batch, normal(n_batches, embedding_dim), normal(n_batches))
    return h, table, torch.rand(n_peaks, n_cells, generator=generator) < density


def positives_of(labels: Tensor) -> Positives:
    """Return the open pairs, sorted by cell."""
    cell, row = labels.T.nonzero(as_tuple=True)
    return Positives(cell, row)


def dense(h: Tensor, table: CellTable, labels: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Return loss and gradients (of h, embedding, intercept) as float64."""
    h = h.to(dtype).requires_grad_()
    embedding, intercept = (t.to(dtype).requires_grad_() for t in table.tile(slice(None)))
    logits = h @ embedding.T + intercept
    loss = F.binary_cross_entropy_with_logits(logits, labels.to(dtype), reduction="sum")
    loss.backward()
    return [t.detach().double() for t in (loss, h.grad, embedding.grad, intercept.grad)]
