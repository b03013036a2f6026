"""The exact cell layer: with the trunk frozen, every cell is a small convex problem.

For each cell, ``sum over p of BCE(h_p . w + b, y_p) + l2 / 2 |w|^2`` is minimised by damped Newton
steps, all cells of a tile together (docs/method.md, "The cell layer is convex").

Choices:

* Labels enter only through 33 numbers per cell, the sums of ``[h_p, 1]`` over its open peaks: they
  are read once, and the solver never sees a label.
* Embeddings are centred over peaks: the same problem (the intercept takes up the shift), better
  conditioned. The intercept at the mean peak carries a tiny ridge, which matters only to cells
  with no or all peaks open: they alone would have no finite solution.
* The first step from zero needs no Hessians of its own: there all cells share one up to a factor.
* Products are in `dtype`, sums over tiles of peaks and the 33 x 33 solves in float64
  (`atlasbasset.core._newton_steps`). No array is larger than a tile of cells times a tile of peaks.

Shape letters: P peaks, N cells (n of a tile), E embedding, F = E + 1 features (the last is 1).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from atlasbasset.core._newton_steps import Problem, errors, evaluate, iterate

__all__ = ["SolvedCells", "solve_cells", "working_bytes"]

TILE_CELLS = 1024
TILE_PEAKS = 2048


class SolvedCells(NamedTuple):
    """The cell table that minimises each cell's objective, and how well it does."""

    embedding: Tensor
    """(N, E) float64."""
    intercept: Tensor
    """(N,) float64."""
    iterations: Tensor
    """(N,) int64, Newton steps taken."""
    gradient_norm: Tensor
    """(N,) float64, Euclidean norm of the objective's gradient at the end."""
    objective: Tensor
    """(N,) float64, summed cross-entropy in nats and penalties at the end."""
    converged: Tensor
    """(N,) bool."""
    one_class: Tensor
    """(N,) bool: no peak open, or all; the ridge alone keeps the intercept finite."""
    standard_error: Tensor
    """(N, E) float64, posterior sd of each number of the embedding; (N, 0) where not asked for."""


class _Centred(NamedTuple):
    """The peaks' embeddings less their mean, and a constant, as features of every cell."""

    problem: Problem
    mean_E: Tensor
    tolerance: float

    @property
    def n_peaks(self) -> int:
        return len(self.problem.features_RF)


def solve_cells(
    h_PE: Tensor,
    open_sums_NF: Tensor,
    *,
    l2: float,
    intercept_l2: float = 1e-6,
    start: tuple[Tensor, Tensor] | None = None,
    prior: Tensor | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 50,
    tile_cells: int = TILE_CELLS,
    tile_peaks: int = TILE_PEAKS,
    dtype: torch.dtype = torch.float32,
    with_errors: bool = False,
) -> SolvedCells:
    """Solve the logistic regression of every cell on the peaks' embeddings.

    Parameters
    ----------
    h_PE
        (P, E) embeddings of the fitted peaks, on the device to compute on.
    open_sums_NF
        (N, E + 1) float64: for each cell the sum of ``h_p`` over its open peaks, and their number.
    l2
        Weight of ``|w|^2 / 2``, above 0.
    intercept_l2
        The same for the intercept at the mean peak, above 0. The default moves the intercept of a
        cell with open and closed peaks by some 1e-6.
    start
        (embedding (N, E), intercept (N,)) to begin with; by default zero, and the logit of the
        cell's share of open peaks.
    prior
        (N, E) what each embedding is held to: the penalty is ``l2 / 2 |w - prior|^2``; by default
        zero.
    tolerance
        A cell has converged when its gradient's norm is at most this times its open peaks (at
        least 1). 1e-5 is within reach of float32; use 1e-10 and less with float64.
    max_iterations
        Newton steps at most.
    tile_cells, tile_peaks
        Cells and peaks at once; lower them when memory is short (`working_bytes`).
    dtype
        Of the products with P: float32 or float64.
    with_errors
        Whether standard errors are computed, too, at the cost of about one more step.

    Returns
    -------
    SolvedCells
        On the device of `h_PE`. The result does not depend on the tiles except for rounding.

    Raises
    ------
    ValueError
        When shapes do not fit or a penalty is not above 0.
    """
    _check(h_PE, open_sums_NF, l2, intercept_l2)
    shared = _centred(h_PE.to(dtype), (l2, intercept_l2), tile_peaks, tolerance, max_iterations)
    sums = open_sums_NF.to(h_PE.device, torch.float64)
    pull = torch.zeros_like(sums[:, :-1]) if prior is None else l2 * prior.to(sums)
    tiles = []
    for first in range(0, len(sums), tile_cells):
        cells = slice(first, first + tile_cells)
        begun = None if start is None else (start[0][cells], start[1][cells])
        tiles.append(_solve_tile(shared, sums[cells], pull[cells], begun, with_errors=with_errors))
    return SolvedCells(*(torch.cat(parts) for parts in zip(*tiles, strict=True)))


def working_bytes(
    n_peaks: int,
    n_cells: int,
    embedding_dim: int,
    *,
    tile_cells: int = TILE_CELLS,
    tile_peaks: int = TILE_PEAKS,
) -> int:
    """Return what `solve_cells` holds at most in float32, sums and result included, bytes."""
    width, tile = embedding_dim + 1, min(tile_cells, n_cells)
    peaks = 4 * n_peaks * (width + embedding_dim) + 4 * tile_peaks * width * (width + 1) // 2
    cells = 8 * n_cells * (2 * width + 5)
    working = tile * (4 * 4 * min(tile_peaks, n_peaks) + 5 * 8 * width * width)
    return peaks + cells + working


def _check(h_PE: Tensor, open_sums_NF: Tensor, l2: float, intercept_l2: float) -> None:
    if h_PE.ndim != 2 or not len(h_PE) or open_sums_NF.ndim != 2 or not len(open_sums_NF):
        raise ValueError("h must be (P, E) and open_sums (N, E + 1), neither empty")
    if open_sums_NF.shape[1] != h_PE.shape[1] + 1:
        raise ValueError(
            f"open_sums must have {h_PE.shape[1] + 1} columns, got {open_sums_NF.shape[1]}"
        )
    if not (l2 > 0 and intercept_l2 > 0):
        raise ValueError(f"l2 and intercept_l2 must be above 0, got {l2} and {intercept_l2}")


def _centred(
    h_PE: Tensor, l2: tuple[float, float], tile_peaks: int, tolerance: float, max_iterations: int
) -> _Centred:
    mean = h_PE.mean(0, dtype=torch.float64).to(h_PE)
    features = h_PE.new_ones(h_PE.shape[0], h_PE.shape[1] + 1)
    torch.sub(h_PE, mean, out=features[:, :-1])
    penalty = torch.full((features.shape[1],), l2[0], dtype=torch.float64, device=h_PE.device)
    penalty[-1] = l2[1]
    problem = Problem(features, penalty, tile_peaks, max_iterations)
    return _Centred(problem, mean.double(), tolerance)


def _solve_tile(
    shared: _Centred,
    raw_sums_nF: Tensor,
    pull_nE: Tensor,
    start: tuple[Tensor, Tensor] | None,
    *,
    with_errors: bool,
) -> SolvedCells:
    problem, n_open = shared.problem, raw_sums_nF[:, -1]
    centred = raw_sums_nF[:, :-1] - n_open[:, None] * shared.mean_E
    # a penalty held to a prior differs from one held to zero by a linear term, as the labels do
    sums = torch.cat([centred + pull_nE, n_open[:, None]], 1)
    points = evaluate(problem, _first(shared, n_open, start), sums)
    goal = shared.tolerance * n_open.clamp(min=1)
    iterations, converged = iterate(problem, points, sums, goal, from_zero=start is None)
    embedding = points.x_nF[:, :-1]
    return SolvedCells(
        embedding=embedding,
        intercept=points.x_nF[:, -1] - embedding @ shared.mean_E,
        iterations=iterations,
        gradient_norm=points.gradient_nF.norm(dim=1),
        objective=points.value_n + pull_nE.square().sum(1) / (2 * problem.penalty_F[0]),
        converged=converged,
        one_class=(n_open == 0) | (n_open == shared.n_peaks),
        standard_error=errors(problem, points)[:, :-1] if with_errors else embedding[:, :0],
    )


def _first(shared: _Centred, n_open: Tensor, start: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return the starting points (n, F) in the centred features."""
    if start is None:
        share = (n_open + 0.5) / (shared.n_peaks + 1)
        return pad(share.logit()[:, None], (len(shared.mean_E), 0))
    embedding, intercept = (part.to(n_open) for part in start)
    return torch.cat([embedding, (intercept + embedding @ shared.mean_E)[:, None]], 1)
