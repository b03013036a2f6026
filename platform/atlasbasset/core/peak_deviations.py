"""The exact peaks: with the cells given, every peak is a small convex problem, as a cell is.

A peak's embedding x is what a linear readout of its sequence's h says plus a deviation of its own.
With the cells' embeddings w and intercepts b, ``sum over c of BCE(x . w_c + b_c, y_c) + l2 / 2
|x|^2 + l2 / 2 |x - h A - a|^2`` is minimised in turn by x (`solve_deviating`), by the readout
(A, a) (`fit_readout`) and by the cells (docs/peak-deviations.md). That of x is the problem of
`atlasbasset.core.newton` with cells and peaks exchanged: no intercept, but an offset b that all
peaks share.

Shape letters: P peaks, N cells, E embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from atlasbasset.core._newton_steps import Problem, evaluate, iterate

__all__ = [
    "Readout",
    "SolvedPeaks",
    "fit_readout",
    "solve_deviating",
    "solve_peaks",
    "solving_bytes",
]

TILE_PEAKS = 1024
TILE_CELLS = 2048
_BEYOND = 0.5
"""Of a step from round to round, by which the next begins further on: over-relaxation by 1.5, with
which four rounds come as near to the minimum as six."""
_RIDGE = 1e-3
"""Of the readout, as a share of the mean variance of h's axes: an axis that hardly ever moves in
the training peaks must not move far where it does in another sequence."""


class SolvedPeaks(NamedTuple):
    """The peaks' embeddings that minimise each peak's objective, and how well they do."""

    embedding: Tensor
    """(P, E) float64."""
    iterations: Tensor
    """(P,) int64, Newton steps taken."""
    gradient_norm: Tensor
    """(P,) float64, Euclidean norm of the objective's gradient at the end."""
    converged: Tensor
    """(P,) bool."""


class Readout(NamedTuple):
    """What a sequence's embedding h says of its peak's: ``h @ weight + offset``."""

    weight: Tensor
    """(E, E) float64."""
    offset: Tensor
    """(E,) float64."""

    def of(self, h_PE: Tensor) -> Tensor:
        """Return what sequences say, in the dtype of `h_PE`."""
        return h_PE @ self.weight.to(h_PE) + self.offset.to(h_PE)


def fit_readout(h_PE: Tensor, x_PE: Tensor) -> Readout:
    """Return the readout of `h_PE` that comes nearest to `x_PE`: least squares, hardly ridged."""
    h, x = h_PE.double(), x_PE.double()
    mean_h, mean_x = h.mean(0), x.mean(0)
    h = h - mean_h
    gram = h.T @ h
    gram.diagonal().add_(_RIDGE * gram.trace() / len(gram) + torch.finfo(h.dtype).tiny)
    weight = torch.linalg.solve(gram, h.T @ (x - mean_x))
    return Readout(weight, mean_x - mean_h @ weight)


def solve_deviating(
    w_NE: Tensor,
    intercept_N: Tensor,
    open_sums_PF: Tensor,
    said_PE: Tensor,
    *,
    l2: float,
    before: Tensor | None = None,
    tolerance: float = 1e-5,
) -> Tensor:
    """Return every peak's embedding, held to zero and as strongly to what its sequence says.

    `l2` is the weight of ``|x|^2 / 2`` and of ``|x - said|^2 / 2``, which together are twice that
    of ``|x - said / 2|^2 / 2``. See `solve_peaks`.

    Parameters
    ----------
    before
        (P, E) where the round before has left the peaks, None in the first. The result lies beyond
        the solution by half the way from there.

    Returns
    -------
    Tensor
        (P, E) float64.
    """
    given = w_NE, intercept_N, open_sums_PF, said_PE / 2
    x = solve_peaks(*given, l2=2 * l2, start=before, tolerance=tolerance).embedding
    return x if before is None else x + _BEYOND * (x - before)


def solve_peaks(
    w_NE: Tensor,
    intercept_N: Tensor,
    open_sums_PF: Tensor,
    h_PE: Tensor,
    *,
    l2: float,
    start: Tensor | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 50,
    tile_peaks: int = TILE_PEAKS,
    tile_cells: int = TILE_CELLS,
    dtype: torch.dtype = torch.float32,
) -> SolvedPeaks:
    """Solve the logistic regression of every peak on the cells' embeddings.

    Parameters
    ----------
    w_NE, intercept_N
        (N, E) and (N,) the cells as they act, on the device to compute on.
    open_sums_PF
        (P, E + 1) float64: for each peak the sum of ``w_c`` over its open cells, and their number.
    h_PE
        (P, E) what each peak's embedding is held to.
    l2
        Weight of ``|x - h|^2 / 2``, above 0.
    start
        (P, E) to begin with; by default `h_PE`.
    tolerance
        A peak has converged when its gradient's norm is at most this times its open cells (at least
        1) times the cells' root mean square norm. 1e-5 is within reach of float32.
    max_iterations
        Newton steps at most.
    tile_peaks, tile_cells
        Peaks and cells at once.
    dtype
        Of the products with N: float32 or float64.

    Returns
    -------
    SolvedPeaks
        On the device of `w_NE`. The result does not depend on the tiles except for rounding.

    Raises
    ------
    ValueError
        When shapes do not fit or `l2` is not above 0.
    """
    _check(w_NE, intercept_N, open_sums_PF, h_PE, l2)
    penalty = torch.full((w_NE.shape[1],), l2, dtype=torch.float64, device=w_NE.device)
    problem = Problem(w_NE.to(dtype), penalty, tile_cells, max_iterations, intercept_N.to(dtype))
    squares = sum(float(rows.double().square().sum()) for rows in w_NE.split(tile_cells))
    scale = tolerance * (squares / len(w_NE)) ** 0.5
    tiles = []
    for first in range(0, len(h_PE), tile_peaks):
        peaks = slice(first, first + tile_peaks)
        h, sums = (part[peaks].to(penalty) for part in (h_PE, open_sums_PF))
        begun = h.clone() if start is None else start[peaks].to(penalty, copy=True)
        tiles.append(_solve_tile(problem, sums, l2 * h, begun, scale))
    return SolvedPeaks(*(torch.cat(parts) for parts in zip(*tiles, strict=True)))


def _solve_tile(
    problem: Problem, sums_nF: Tensor, pull_nE: Tensor, start_nE: Tensor, scale: float
) -> SolvedPeaks:
    # a penalty held to h differs from one held to zero by a linear term, as the labels do
    sums = sums_nF[:, :-1] + pull_nE
    points = evaluate(problem, start_nE, sums)
    goal = scale * sums_nF[:, -1].clamp(min=1)
    iterations, converged = iterate(problem, points, sums, goal)
    return SolvedPeaks(points.x_nF, iterations, points.gradient_nF.norm(dim=1), converged)


def solving_bytes(n_peaks: int, n_cells: int, embedding_dim: int) -> int:
    """Return what `solve_peaks` holds at most in float32, sums and result included, bytes."""
    width, tile = embedding_dim, min(TILE_PEAKS, n_peaks)
    cells = 4 * n_cells * (width + 1) + 4 * TILE_CELLS * width * (width + 1) // 2
    peaks = 8 * n_peaks * (2 * width + 4)
    return cells + peaks + tile * (4 * 4 * min(TILE_CELLS, n_cells) + 5 * 8 * width * width)


def _check(
    w_NE: Tensor, intercept_N: Tensor, open_sums_PF: Tensor, h_PE: Tensor, l2: float
) -> None:
    if w_NE.ndim != 2 or not len(w_NE) or h_PE.ndim != 2 or not len(h_PE):
        raise ValueError("w must be (N, E) and h (P, E), neither empty")
    (n_cells, width), n_peaks = w_NE.shape, len(h_PE)
    wanted = {"intercept": (n_cells,), "open_sums": (n_peaks, width + 1), "h": (n_peaks, width)}
    given = {"intercept": intercept_N, "open_sums": open_sums_PF, "h": h_PE}
    for name, shape in wanted.items():
        if tuple(given[name].shape) != shape:
            raise ValueError(f"{name} must be {shape}, got {tuple(given[name].shape)}")
    if not l2 > 0:
        raise ValueError(f"l2 must be above 0, got {l2}")
