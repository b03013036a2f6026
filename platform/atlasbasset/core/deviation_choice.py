"""How strongly cells and peaks' deviations are held, and whether peaks should deviate at all.

How strongly: labels are draws around a table of probabilities, and what peaks must not follow is
the draws' noise. Weights l2 of the cells and lambda of the peaks x hold the table x . w by
sqrt(l2 lambda) times its nuclear norm; a table of noise alone stays at zero where that is no less
than the noise's largest singular value (`noise_norm`).

Whether: a fifth of the peaks is held out, no solve sees them; a held-out peak is predicted in a
cell by its share among the open peaks of the cell's nearest neighbours, times the cell's own depth
(`neighbour_losses`). So deviations are judged by what embeddings are for, and cells of like depth
are no better neighbours than others. (docs/peak-deviations.md has the rules that were tried.)

Shape letters: P peaks, Q held-out peaks, N cells, E embedding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlasbasset.core.newton import solve_cells
from atlasbasset.core.peak_deviations import fit_readout, solve_deviating

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FEWEST",
    "FOLDS",
    "Losses",
    "Weights",
    "chosen",
    "deviation_weight",
    "held_out_folds",
    "neighbour_losses",
    "noise_norm",
]

FEWEST = 100
"""Cells, and peaks, from which on it can be seen whether deviations help."""
FOLDS = 5
"""Parts of the peaks that are held out, one after the other."""
_UNEVEN = 1.5
"""How much larger the square of noise's largest singular value is for rates that differ between
peaks and between cells, about."""
_HALF = 0.5
"""Of what holds a peak: the other half holds it to what its sequence says."""
_TOLERANCE = 1e-2
"""Of solves: a loss is off by 5e-5 nats, as much for one as for the other."""
_NEIGHBOURS = 15
_PRIOR_CELLS = 5
"""Mean cells that are added to a cell's neighbours, so that a rate is not 0."""
_RATES = 1e-6, 0.95
_TILE_CELLS = 1024
_SUMMED_ROWS = 256


class Weights(NamedTuple):
    """How strongly embeddings are held."""

    cells: float
    """Of ``|w|^2 / 2`` of a cell."""
    deviations: float
    """Of ``|x|^2 / 2`` of a peak, and of ``|d|^2 / 2`` of its deviation."""


class Losses(NamedTuple):
    """Mean cross-entropies of held-out pairs by their neighbours, nats."""

    plain: float
    """Without deviations."""
    held: float
    """Without deviations, cells held as strongly as with them."""
    deviating: float


class _Table(NamedTuple):
    w_NE: Tensor
    intercept_N: Tensor


def noise_norm(n_peaks: int, n_cells: int, open_share: float) -> float:
    """Return about how large the largest singular value of labels' noise is.

    A table of independent draws with variance v has ``sqrt(v) (sqrt(n_peaks) + sqrt(n_cells))``;
    v is that of labels of which `open_share` are open.
    """
    deviation = (open_share * (1 - open_share)) ** 0.5
    return float(deviation * (n_peaks**0.5 + n_cells**0.5))


def deviation_weight(n_peaks: int, n_cells: int, open_share: float, cells_l2: float) -> float:
    """Return `Weights.deviations` that noise in a table of this size does not overcome."""
    squared_noise = noise_norm(n_peaks, n_cells, open_share) ** 2
    return _HALF * _UNEVEN * squared_noise / cells_l2


def held_out_folds(n_peaks: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Yield each of `FOLDS` parts of the peaks, bool (P,)."""
    for fold in np.array_split(rng.permutation(n_peaks), FOLDS):
        held = torch.zeros(n_peaks, dtype=torch.bool)
        held[torch.from_numpy(fold)] = True
        yield held


def neighbour_losses(
    h_PE: Tensor,
    labels_PN: Tensor,
    held_P: Tensor,
    *,
    plain_l2: float,
    weights: Weights,
    rounds: int,
) -> Losses:
    """Return how well neighbours predict held-out peaks without deviations and with them.

    Parameters
    ----------
    h_PE
        (P, E) float32, the embeddings of the peaks' sequences.
    labels_PN
        (P, N) uint8, 0 or 1, on the device of `h_PE`; two cells at least.
    held_P
        bool (P,), the peaks that no solve sees; neither all nor none.
    plain_l2
        The cells' weight without deviations.
    weights
        Those with deviations.
    rounds
        Solves of peaks, readout and cells, in turn.
    """
    held = held_P.to(h_PE.device)
    h, labels, unseen = h_PE[~held], labels_PN[~held], labels_PN[held].float()
    depth = labels.sum(0, dtype=torch.float32)
    table = _cells(h, labels, plain_l2, None)
    plain = _loss(unseen, depth, table.w_NE)
    table = _cells(h, labels, weights.cells, table)
    strong = _loss(unseen, depth, table.w_NE)
    x, said = None, h
    for _ in range(rounds):
        x = _peaks(said, labels, weights.deviations, table, x)
        said = fit_readout(h, x).of(h)
        table = _cells(x, labels, weights.cells, table)
    return Losses(plain, strong, _loss(unseen, depth, table.w_NE))


def chosen(losses: Tensor) -> str:
    """Return which field of `Losses` is the one to take, by folds, (F, 3).

    Deviating if that is below the plain loss, and below that of held cells, which costs nothing, by
    more than the difference's standard error; else the lower of the other two.
    """
    gains = losses[:, :2] - losses[:, 2:]
    mean = Losses(*losses.mean(0).tolist())
    if (gains.mean(0) > gains.std(0) / len(gains) ** 0.5).all():
        return "deviating"
    return "held" if mean.held < mean.plain else "plain"


def _cells(x_PE: Tensor, labels: Tensor, l2: float, start: _Table | None) -> _Table:
    sums = _open_sums(labels.T, x_PE)
    found = solve_cells(x_PE, sums, l2=l2, start=start, tolerance=_TOLERANCE)
    return _Table(found.embedding.float(), found.intercept.float())


def _peaks(
    said_PE: Tensor, labels: Tensor, l2: float, table: _Table, before: Tensor | None
) -> Tensor:
    sums = _open_sums(labels, table.w_NE)
    found = solve_deviating(*table, sums, said_PE, l2=l2, before=before, tolerance=_TOLERANCE)
    return found.float()


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
