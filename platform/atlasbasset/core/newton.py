"""The exact cell layer: with the trunk frozen, every cell is a small convex problem.

For each cell, ``sum over p of BCE(h_p . w + b, y_p) + l2 / 2 |w|^2`` is minimised by damped Newton
steps, all cells of a tile together (docs/method.md, "The cell layer is convex").

Choices:

* Labels enter only through 33 numbers per cell, the sums of ``[h_p, 1]`` over its open peaks: they
  are read once, and the solver never sees a label.
* Embeddings are centred over peaks: the same problem (the intercept takes up the shift), better
  conditioned. The intercept at the mean peak carries a tiny ridge, which matters only to cells
  with no or all peaks open: they alone would have no finite solution.
* Hessians are one product of the cells' P weights with P x F (F + 1) / 2 products of features, for
  the cells that have not converged. The first step from zero needs none: there all cells share one
  Hessian up to a factor. Reusing a Hessian for several steps saved nothing: more steps were taken.
* Products are in `dtype`, sums over tiles of peaks and the 33 x 33 solves in float64. No array is
  larger than a tile of cells times a tile of peaks.

Shape letters: P peaks, N cells (n of a tile), E embedding, F = E + 1 features (the last is 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

__all__ = ["SolvedCells", "solve_cells", "working_bytes"]

TILE_CELLS = 1024
TILE_PEAKS = 2048
_ARMIJO = 1e-4
_HALVINGS = 30


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


@dataclass(frozen=True, slots=True)
class _Problem:
    """What all cells share."""

    features_PF: Tensor
    mean_E: Tensor
    penalty_F: Tensor
    tile_peaks: int
    tolerance: float
    max_iterations: int

    @property
    def n_peaks(self) -> int:
        return self.features_PF.shape[0]

    @property
    def slack(self) -> float:
        """Relative error of an objective's terms: a rise below it is rounding."""
        return 16 * torch.finfo(self.features_PF.dtype).eps


class _Points(NamedTuple):
    """Where the cells of a tile stand."""

    x_nF: Tensor
    value_n: Tensor
    gradient_nF: Tensor

    def at(self, rows: Tensor) -> _Points:
        return _Points(self.x_nF[rows], self.value_n[rows], self.gradient_nF[rows])

    def replace_(self, rows: Tensor, by: _Points) -> None:
        for ours, theirs in zip(self, by, strict=True):
            ours[rows] = theirs


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
    problem = _problem(h_PE.to(dtype), (l2, intercept_l2), tile_peaks, tolerance, max_iterations)
    sums = open_sums_NF.to(h_PE.device, torch.float64)
    pull = torch.zeros_like(sums[:, :-1]) if prior is None else l2 * prior.to(sums)
    tiles = []
    for first in range(0, len(sums), tile_cells):
        cells = slice(first, first + tile_cells)
        begun = None if start is None else (start[0][cells], start[1][cells])
        tiles.append(_solve_tile(problem, sums[cells], pull[cells], begun))
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


def _problem(
    h_PE: Tensor, l2: tuple[float, float], tile_peaks: int, tolerance: float, max_iterations: int
) -> _Problem:
    mean = h_PE.mean(0, dtype=torch.float64).to(h_PE)
    features = h_PE.new_ones(h_PE.shape[0], h_PE.shape[1] + 1)
    torch.sub(h_PE, mean, out=features[:, :-1])
    penalty = torch.full((features.shape[1],), l2[0], dtype=torch.float64, device=h_PE.device)
    penalty[-1] = l2[1]
    mean = mean.double()
    return _Problem(features, mean, penalty, tile_peaks, tolerance, max_iterations)


def _solve_tile(
    problem: _Problem,
    raw_sums_nF: Tensor,
    pull_nE: Tensor,
    start: tuple[Tensor, Tensor] | None,
) -> SolvedCells:
    n_open = raw_sums_nF[:, -1]
    centred = raw_sums_nF[:, :-1] - n_open[:, None] * problem.mean_E
    # a penalty held to a prior differs from one held to zero by a linear term, as the labels do
    sums = torch.cat([centred + pull_nE, n_open[:, None]], 1)
    points = _evaluate(problem, _first(problem, n_open, start), sums)
    iterations, converged = _iterate(problem, points, sums, from_zero=start is None)
    embedding = points.x_nF[:, :-1]
    return SolvedCells(
        embedding=embedding,
        intercept=points.x_nF[:, -1] - embedding @ problem.mean_E,
        iterations=iterations,
        gradient_norm=points.gradient_nF.norm(dim=1),
        objective=points.value_n + pull_nE.square().sum(1) / (2 * problem.penalty_F[0]),
        converged=converged,
        one_class=(n_open == 0) | (n_open == problem.n_peaks),
    )


def _first(problem: _Problem, n_open: Tensor, start: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return the starting points (n, F) in the centred features."""
    if start is None:
        share = (n_open + 0.5) / (problem.n_peaks + 1)
        return pad(share.logit()[:, None], (len(problem.mean_E), 0))
    embedding, intercept = (part.to(n_open) for part in start)
    return torch.cat([embedding, (intercept + embedding @ problem.mean_E)[:, None]], 1)


def _iterate(
    problem: _Problem, points: _Points, sums: Tensor, *, from_zero: bool
) -> tuple[Tensor, Tensor]:
    """Move `points` to the minimum in place; return (iterations, converged)."""
    goal = problem.tolerance * sums[:, -1].clamp(min=1)
    iterations = torch.zeros_like(goal, dtype=torch.int64)
    for count in range(problem.max_iterations):
        active = (points.gradient_nF.norm(dim=1) > goal).nonzero().squeeze(1)
        if not len(active):
            break
        before = points.at(active)
        factors = _factors(problem, before.x_nF, shared=from_zero and not count)
        step = -torch.cholesky_solve(before.gradient_nF[:, :, None], factors).squeeze(2)
        points.replace_(active, _descend(problem, before, step, sums[active]))
        iterations[active] += 1
    return iterations, points.gradient_nF.norm(dim=1) <= goal


def _evaluate(problem: _Problem, x_nF: Tensor, sums_nF: Tensor) -> _Points:
    """Return objective and gradient at `x_nF`."""
    value = (x_nF * (problem.penalty_F * x_nF / 2 - sums_nF)).sum(1)
    gradient = problem.penalty_F * x_nF - sums_nF
    x = x_nF.to(problem.features_PF.dtype)
    for features in problem.features_PF.split(problem.tile_peaks):
        logits = x @ features.T
        value += softplus(logits, threshold=40).sum(1, dtype=torch.float64)
        gradient += logits.sigmoid_() @ features
    return _Points(x_nF, value, gradient)


def _descend(problem: _Problem, before: _Points, step_nF: Tensor, sums_nF: Tensor) -> _Points:
    """Take each cell's step, halved until its objective falls; none where it never does."""
    slope = _ARMIJO * (before.gradient_nF * step_nF).sum(1)
    terms = before.value_n.abs() + (before.x_nF * sums_nF).abs().sum(1)
    bound = before.value_n + problem.slack * terms
    found = _evaluate(problem, before.x_nF + step_nF, sums_nF)
    size = 1.0
    for _ in range(_HALVINGS):
        # "not below" rather than "above": a NaN is too high as well
        high = (~(found.value_n <= bound + size * slope)).nonzero().squeeze(1)
        if not len(high):
            return found
        size /= 2
        shorter = before.x_nF[high] + size * step_nF[high]
        found.replace_(high, _evaluate(problem, shorter, sums_nF[high]))
    high = (~(found.value_n <= bound)).nonzero().squeeze(1)
    found.replace_(high, before.at(high))
    return found


def _factors(problem: _Problem, x_nF: Tensor, *, shared: bool) -> Tensor:
    """Return the Cholesky factors (n, F, F) of the Hessians at `x_nF`, float64."""
    hessian = _shared_hessian(problem, x_nF) if shared else _hessian(problem, x_nF)
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    # rounding must not make the sum of products indefinite
    rounding = 32 * torch.finfo(problem.features_PF.dtype).eps * diagonal.amax(1, keepdim=True)
    diagonal += problem.penalty_F + rounding
    factors: Tensor = torch.linalg.cholesky(hessian)
    return factors


def _hessian(problem: _Problem, x_nF: Tensor) -> Tensor:
    """Return the Hessians (n, F, F) of the cross-entropy: sum of s (1 - s) f f' over peaks."""
    n_features = x_nF.shape[1]
    i, j = torch.triu_indices(n_features, n_features, device=x_nF.device)
    x = x_nF.to(problem.features_PF.dtype)
    packed = x.new_zeros(len(x), len(i))
    for features in problem.features_PF.split(problem.tile_peaks):
        share = (x @ features.T).sigmoid_()
        packed.addmm_(share.mul_(1 - share), features[:, i] * features[:, j])
    hessian = x_nF.new_empty(len(x), n_features, n_features)
    hessian[:, i, j] = hessian[:, j, i] = packed.to(hessian)
    return hessian


def _shared_hessian(problem: _Problem, x_nF: Tensor) -> Tensor:
    """Return the Hessians where every embedding is zero: one product for all cells."""
    share = x_nF[:, -1].sigmoid()
    features = problem.features_PF
    return (share * (1 - share))[:, None, None] * (features.T @ features).to(x_nF)
