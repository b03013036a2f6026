"""How freely peaks may deviate: the weight, and the rounds, that predict held-out pairs best.

Some peaks and some cells are held out: their pairs, a block, are seen by no solve. Held peaks are
solved on the kept cells, held cells on the kept peaks, all others on everything; then the block is
predicted (bi-cross-validation). Infinite weight, no deviations, is among the candidates.

Shape letters: P peaks, N cells, E embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from atlasbasset.core.newton import solve_cells
from atlasbasset.core.peak_deviations import solve_peaks

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["held_out_losses", "open_sums_of"]

_HELD_SHARE = 0.2
"""Of the peaks, and of the cells."""
_SUMMED_ROWS = 256


class _Table(NamedTuple):
    w_NE: Tensor
    intercept_N: Tensor


def held_out_losses(
    h_PE: Tensor,
    labels_PN: Tensor,
    weights: Sequence[float],
    *,
    l2: float,
    rounds: int,
    rng: np.random.Generator,
) -> Tensor:
    """Return how well held-out pairs are predicted with deviations of several weights.

    Parameters
    ----------
    h_PE
        (P, E) float32, the embeddings of the peaks' sequences.
    labels_PN
        (P, N) uint8, 0 or 1, on the device of `h_PE`.
    weights
        Candidates for the weight of ``|d|^2 / 2``.
    l2
        Weight of ``|w|^2 / 2`` of a cell.
    rounds
        Solves of peaks and then cells, in turn.
    rng
        Chooses what is held out.

    Returns
    -------
    Tensor
        float64 (weights, rounds + 1), mean cross-entropy of held-out pairs, nats: first without
        deviations, then after each round.
    """
    held = _HeldOut.chosen(h_PE, labels_PN, l2, rng)
    first = held.cells(h_PE, None)
    losses = torch.full((len(weights), rounds + 1), held.loss(h_PE, first), dtype=torch.float64)
    for row, weight in enumerate(weights):
        x, table = h_PE, first
        for n_done in range(1, rounds + 1):
            x = held.peaks(x, table, weight)
            table = held.cells(x, table)
            losses[row, n_done] = held.loss(x, table)
    return losses


def open_sums_of(labels: Tensor, features: Tensor) -> Tensor:
    """Sum ``[f, 1]`` over the positive columns of each row, float64."""
    wide = torch.cat([features, features.new_ones(len(features), 1)], 1).double()
    return torch.cat([rows.double() @ wide for rows in labels.split(_SUMMED_ROWS)])


class _HeldOut(NamedTuple):
    h_PE: Tensor
    labels_PN: Tensor
    held_P: Tensor
    held_N: Tensor
    l2: float

    @classmethod
    def chosen(
        cls, h_PE: Tensor, labels_PN: Tensor, l2: float, rng: np.random.Generator
    ) -> _HeldOut:
        held = [_chosen(n, rng).to(h_PE.device) for n in labels_PN.shape]
        return cls(h_PE, labels_PN, *held, l2)

    def cells(self, x_PE: Tensor, start: _Table | None) -> _Table:
        """Solve all cells: held ones on kept peaks."""
        found = _Table(
            x_PE.new_empty(len(self.held_N), x_PE.shape[1]), x_PE.new_empty(len(self.held_N))
        )
        for cells, peaks in ((~self.held_N, None), (self.held_N, ~self.held_P)):
            labels, x = self.labels_PN[:, cells], x_PE
            if peaks is not None:
                labels, x = labels[peaks], x[peaks]
            begun = None if start is None else (start.w_NE[cells], start.intercept_N[cells])
            solved = solve_cells(x, open_sums_of(labels.T, x), l2=self.l2, start=begun)
            found.w_NE[cells] = solved.embedding.float()
            found.intercept_N[cells] = solved.intercept.float()
        return found

    def peaks(self, x_PE: Tensor, table: _Table, weight: float) -> Tensor:
        """Solve all peaks: held ones on kept cells."""
        found = torch.empty_like(x_PE)
        for peaks, cells in ((~self.held_P, None), (self.held_P, ~self.held_N)):
            labels, (w, intercept) = self.labels_PN[peaks], table
            if cells is not None:
                labels, w, intercept = labels[:, cells], w[cells], intercept[cells]
            solved = solve_peaks(
                w,
                intercept,
                open_sums_of(labels, w),
                self.h_PE[peaks],
                l2=weight,
                start=x_PE[peaks],
            )
            found[peaks] = solved.embedding.float()
        return found

    def loss(self, x_PE: Tensor, table: _Table) -> float:
        """Return the mean cross-entropy of the pairs that no solve has seen."""
        labels = self.labels_PN[self.held_P][:, self.held_N].float()
        w, intercept = table.w_NE[self.held_N], table.intercept_N[self.held_N]
        logits = torch.addmm(intercept, x_PE[self.held_P], w.T)
        return float((softplus(logits) - labels * logits).mean(dtype=torch.float64))


def _chosen(size: int, rng: np.random.Generator) -> Tensor:
    """Choose about a fifth, at least one and not all, of `size` >= 2; a bool mask."""
    held = np.zeros(size, bool)
    held[rng.permutation(size)[: max(1, round(_HELD_SHARE * size))]] = True
    return torch.from_numpy(held)
