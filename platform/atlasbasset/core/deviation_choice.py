"""How strongly cells and peaks' deviations are held: the weights whose neighbours predict best.

A fifth of the peaks is held out, three times another: no solve sees them. For each candidate the
others and all cells are solved in turn; then a held-out peak is predicted in a cell by its share
among the open peaks of the cell's nearest neighbours, times the cell's own depth. So weights are
judged by what embeddings are for, and cells of like depth are no better neighbours than others.
(The likelihood of held-out pairs asks for weaker weights, whose embeddings predict better and are
worse maps: docs/peak-deviations.md.)

Shape letters: P peaks, Q held-out peaks, N cells, E embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlasbasset.core.newton import solve_cells
from atlasbasset.core.peak_deviations import solve_peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Weights", "neighbour_losses"]

_FOLDS, _HELD_FOLDS = 5, 3
"""Peaks are cut into so many folds, of which so many are held out, one after the other."""
_TOLERANCE = 1e-3
_NEIGHBOURS = 15
_PRIOR_CELLS = 5
"""Mean cells that are added to a cell's neighbours, so that a rate is not 0."""
_RATES = 1e-6, 0.95
_TILE_CELLS = 1024
_SUMMED_ROWS = 256


class Weights(NamedTuple):
    """A candidate."""

    cells: float
    """Of ``|w|^2 / 2`` of a cell."""
    deviations: float
    """Of ``|d|^2 / 2`` of a peak."""


class _Table(NamedTuple):
    w_NE: Tensor
    intercept_N: Tensor


def neighbour_losses(
    h_PE: Tensor,
    labels_PN: Tensor,
    candidates: Sequence[Weights],
    *,
    rounds: int,
    rng: np.random.Generator,
) -> Tensor:
    """Return how well neighbours predict held-out peaks under several weights.

    Parameters
    ----------
    h_PE
        (P, E) float32, the embeddings of the peaks' sequences.
    labels_PN
        (P, N) uint8, 0 or 1, on the device of `h_PE`; two peaks and two cells at least.
    candidates
        Weights to try.
    rounds
        Solves of peaks and then cells, in turn.
    rng
        Chooses the peaks that are held out, three times a fifth.

    Returns
    -------
    Tensor
        float64 (candidates, rounds + 1), mean cross-entropy of held-out pairs, nats: first without
        deviations, then after each round.
    """
    folds = np.array_split(rng.permutation(len(h_PE)), min(_FOLDS, len(h_PE)))[:_HELD_FOLDS]
    losses = torch.zeros(len(candidates), rounds + 1, dtype=torch.float64)
    for fold in folds:
        held = torch.zeros(len(h_PE), dtype=torch.bool, device=h_PE.device)
        held[torch.from_numpy(fold).to(h_PE.device)] = True
        losses += _fold_losses(h_PE, labels_PN, held, candidates, rounds) / len(folds)
    return losses


def _fold_losses(
    h_PE: Tensor, labels_PN: Tensor, held_P: Tensor, candidates: Sequence[Weights], rounds: int
) -> Tensor:
    h, labels, unseen = h_PE[~held_P], labels_PN[~held_P], labels_PN[held_P].float()
    depth = labels.sum(0, dtype=torch.float32)
    first = {l2: _cells(h, labels, l2, None) for l2 in {weights.cells for weights in candidates}}
    losses = torch.empty(len(candidates), rounds + 1, dtype=torch.float64)
    for row, weights in enumerate(candidates):
        x, table = h, first[weights.cells]
        losses[row, 0] = _loss(unseen, depth, table.w_NE)
        for n_done in range(1, rounds + 1):
            x = _peaks(h, labels, weights.deviations, table, x)
            table = _cells(x, labels, weights.cells, table)
            losses[row, n_done] = _loss(unseen, depth, table.w_NE)
    return losses


def _cells(x_PE: Tensor, labels: Tensor, l2: float, start: _Table | None) -> _Table:
    sums = _open_sums(labels.T, x_PE)
    found = solve_cells(x_PE, sums, l2=l2, start=start, tolerance=_TOLERANCE)
    return _Table(found.embedding.float(), found.intercept.float())


def _peaks(h_PE: Tensor, labels: Tensor, l2: float, table: _Table, start: Tensor) -> Tensor:
    sums = _open_sums(labels, table.w_NE)
    found = solve_peaks(*table, sums, h_PE, l2=l2, start=start, tolerance=_TOLERANCE)
    return found.embedding.float()


def _open_sums(labels: Tensor, features: Tensor) -> Tensor:
    """Sum ``[f, 1]`` over the positive columns of each row, float64."""
    wide = torch.cat([features, features.new_ones(len(features), 1)], 1).double()
    return torch.cat([rows.double() @ wide for rows in labels.split(_SUMMED_ROWS)])


def _loss(unseen_QN: Tensor, depth_N: Tensor, w_NE: Tensor) -> float:
    """Return the mean cross-entropy of labels, predicted by those of the nearest cells."""
    n_cells = len(w_NE)
    k, total = min(_NEIGHBOURS, n_cells - 1), 0.0
    prior_Q1 = _PRIOR_CELLS * unseen_QN.mean(1, keepdim=True)
    prior_depth = _PRIOR_CELLS * depth_N.mean().clamp(min=1)
    for start in range(0, n_cells, _TILE_CELLS):
        cells = torch.arange(start, min(start + _TILE_CELLS, n_cells), device=w_NE.device)
        apart = torch.cdist(w_NE[cells], w_NE)
        apart[cells - start, cells] = torch.inf
        near = torch.zeros_like(apart).scatter_(1, apart.topk(k, largest=False).indices, 1.0)
        share = (unseen_QN @ near.T + prior_Q1) / (near @ depth_N + prior_depth)
        rate = (depth_N[cells] * share).clamp(*_RATES)
        labels = unseen_QN[:, cells]
        terms = labels * rate.log() + (1 - labels) * (-rate).log1p()
        total -= float(terms.sum(dtype=torch.float64))
    return total / unseen_QN.numel()
