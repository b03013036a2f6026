"""Adam on some of the cells: torch's own on all of them, nothing on the others."""

from __future__ import annotations

import torch

from atlasbasset.core.cell_adam import CellAdam
from atlasbasset.core.cells import CellGradients, CellLayer, rows_of

BETAS, EPS, RATE = (0.95, 0.9995), 1e-7, 0.01


def layer(seed=0, n=23, dim=5):
    generator = torch.Generator().manual_seed(seed)
    cells = CellLayer(n, dim)
    with torch.no_grad():
        cells.embedding.copy_(torch.randn(n, dim, generator=generator))
        cells.intercept.copy_(torch.randn(n, generator=generator))
    return cells


def gradients(cells, seed):
    generator = torch.Generator().manual_seed(seed)
    return CellGradients(
        torch.randn(cells.embedding.shape, generator=generator),
        torch.randn(cells.intercept.shape, generator=generator),
    )


def test_all_cells_are_torchs_adam():
    ours, theirs = layer(), layer()
    adam = CellAdam(ours, betas=BETAS, eps=EPS)
    reference = torch.optim.Adam(
        [theirs.embedding, theirs.intercept], lr=RATE, betas=BETAS, eps=EPS, fused=True
    )
    for step in range(5):
        found = gradients(ours, step)
        adam.step(found, None, visits=step + 1, learning_rate=RATE)
        theirs.embedding.grad, theirs.intercept.grad = (g.clone() for g in found)
        reference.step()
    torch.testing.assert_close(ours.embedding, theirs.embedding, rtol=0, atol=0)
    torch.testing.assert_close(ours.intercept, theirs.intercept, rtol=0, atol=0)


def test_cells_that_are_not_met_stay_as_they_are():
    """Each half, met in turn, goes exactly where it goes alone."""
    ours, before = layer(), layer()
    adam = CellAdam(ours, betas=BETAS, eps=EPS)
    halves = ((slice(0, 4), slice(9, 15)), (slice(4, 9), slice(15, 23)))
    alone = [layer() for _ in halves]
    adams = [CellAdam(cells, betas=BETAS, eps=EPS) for cells in alone]
    for step in range(6):
        tiles = halves[step % 2]
        whole = gradients(ours, step)
        met = CellGradients(rows_of(whole.embedding, tiles), rows_of(whole.intercept, tiles))
        rest = rows_of(ours.embedding.detach(), halves[1 - step % 2]).clone()
        adam.step(met, tiles, visits=step // 2 + 1, learning_rate=RATE)
        torch.testing.assert_close(
            rows_of(ours.embedding.detach(), halves[1 - step % 2]), rest, rtol=0, atol=0
        )
        adams[step % 2].step(whole, None, visits=step // 2 + 1, learning_rate=RATE)
    for tiles, cells in zip(halves, alone, strict=True):
        torch.testing.assert_close(
            rows_of(ours.embedding, tiles), rows_of(cells.embedding, tiles), rtol=0, atol=0
        )
    assert not torch.equal(ours.embedding, before.embedding)
