"""The fused loss on CPU: one compiled pass over tiles of cells that stay in the core's cache.

A tile is 64 cells with a batch's logits, one row a cell. While it is in cache: logits (a product),
loss and residual in one loop, then the two gradients (products). Nothing of size B x N leaves it.

A positive's loss is softplus(-z) and its residual -sigmoid(-z): its logit changes sign before the
loop and its residual after, so nearly equal numbers are never subtracted. Cells are cut into at
most 256 runs, which depend on their number only; threads process runs. Sums are float32 within a
tile (loss) or a run (gradient of h) and float64 across them, in an order that does not depend on
the number of threads.
"""
# numba compiles these loops; plain index loops are what it vectorises best.

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
import torch
from numba import njit, prange

from atlasbasset.core._vector_math import BLOCK_COLUMNS, exp, log1p, multiply
from atlasbasset.core.loss_types import LossAndGradients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.loss_types import CellTable, Positives

__all__ = ["fused_bce_numba"]

TILE_CELLS = 64
MAX_RUNS = 256
"""Each run sums its own gradient of h, B x E: 4 MB in all at B = 128, E = 32."""

_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


class _Peaks(NamedTuple):
    h: NDArray[np.float32]
    """Rows and columns padded with zeros to whole blocks."""
    h_t: NDArray[np.float32]
    """Its transpose and a row of ones: an intercept is one more number of a cell's embedding."""
    n_rows: int
    """B, without padding."""


class _Cells(NamedTuple):
    embedding: NDArray[np.float32]
    intercept: NDArray[np.float32]
    batch: NDArray[np.int64]
    """Empty without batch correction."""
    batch_embedding: NDArray[np.float32]
    batch_intercept: NDArray[np.float32]


class _Open(NamedTuple):
    cell: NDArray[np.int64]
    row: NDArray[np.int64]
    first: NDArray[np.int64]
    """(runs + 1,): where each run's positives begin."""


class _Found(NamedTuple):
    embedding: NDArray[np.float32]
    intercept: NDArray[np.float32]
    h: NDArray[np.float32]
    """(runs, rows and columns as in `_Peaks.h`)."""
    loss: NDArray[np.float64]
    """(runs,)."""
    n_open: NDArray[np.int64]
    """(runs,): positives found where they belong."""


def fused_bce_numba(
    h_BE: Tensor, table: CellTable, positives: Positives, *, scale: float
) -> LossAndGradients:
    """Return what `loss.fused_bce` returns; all tensors float32 on the CPU.

    Uses as many threads as torch does, as far as numba was started with them. Raises ValueError
    where positives are not sorted by cell or are outside the batch or the table.
    """
    n_cells, n_rows = table.embedding.shape[0], h_BE.shape[0]
    tiles = -(-n_cells // TILE_CELLS)
    run_cells = max(1, -(-tiles // MAX_RUNS)) * TILE_CELLS
    starts = torch.arange(0, n_cells + run_cells, run_cells).clamp_(max=n_cells)
    pairs = _Open(*map(_array, (*positives, torch.searchsorted(positives.cell, starts))))
    peaks, cells = _padded(h_BE), _cells(table)
    found = _nothing_found(peaks, cells, len(starts) - 1)
    with _threads_of_torch():
        _all_runs(peaks, cells, pairs, np.float32(scale), run_cells, found)
    if found.n_open.sum() != len(pairs.cell):
        raise ValueError(
            f"the positives must be sorted by cell, cells below {n_cells} and rows below {n_rows}"
        )
    h = found.h.sum(0, dtype=np.float64)[:n_rows, : h_BE.shape[1]].astype(np.float32)
    gradients = map(torch.from_numpy, (h, found.embedding, found.intercept))
    return LossAndGradients(torch.tensor(found.loss.sum(), dtype=torch.float64), *gradients)


def _nothing_found(peaks: _Peaks, cells: _Cells, runs: int) -> _Found:
    own = np.empty_like(cells.embedding), np.empty_like(cells.intercept)
    h = np.zeros((runs, *peaks.h.shape), np.float32)
    return _Found(*own, h, np.zeros(runs), np.zeros(runs, np.int64))


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.detach().contiguous().numpy()


def _padded(h: Tensor) -> _Peaks:
    rows, columns = (-(-size // BLOCK_COLUMNS) * BLOCK_COLUMNS for size in h.shape)
    padded = np.zeros((rows, columns), np.float32)
    padded[: h.shape[0], : h.shape[1]] = _array(h)
    transposed = np.ones((columns + 1, rows), np.float32)
    transposed[:columns] = padded.T
    return _Peaks(padded, transposed, h.shape[0])


def _cells(table: CellTable) -> _Cells:
    own = table.embedding, table.intercept
    if table.batch is None or table.batch_embedding is None or table.batch_intercept is None:
        shared = torch.empty(0, dtype=torch.int64), torch.empty(0, 0), torch.empty(0)
    else:
        shared = table.batch, table.batch_embedding, table.batch_intercept
    return _Cells(*map(_array, (*own, *shared)))


@contextmanager
def _threads_of_torch() -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)


@njit(parallel=True, cache=True, error_model="numpy")
def _all_runs(peaks: Any, cells: Any, pairs: Any, scale: Any, run_cells: Any, found: Any) -> None:
    for run in prange(found.loss.size):
        _run(run, peaks, cells, pairs, scale, run_cells, found)


@njit(error_model="numpy")
def _run(
    run: Any, peaks: Any, cells: Any, pairs: Any, scale: Any, run_cells: Any, found: Any
) -> None:
    rows, columns = peaks.h.shape
    tile = np.zeros((TILE_CELLS, columns + 1), np.float32)
    z = np.empty((TILE_CELLS, rows), np.float32)
    gradient = np.empty((TILE_CELLS, columns), np.float32)
    losses = np.empty(peaks.n_rows, np.float32)
    stop, at = min((run + 1) * run_cells, cells.intercept.size), pairs.first[run]
    for start in range(run * run_cells, stop, TILE_CELLS):
        n = min(TILE_CELLS, stop - start)
        _load(tile, cells, start, n)
        multiply(z, tile, peaks.h_t, False)  # noqa: FBT003
        end = _turn_open(z, pairs, at, start, n, peaks.n_rows)
        found.loss[run] += _to_residual(z, n, losses, scale)
        _turn_open(z, pairs, at, start, n, peaks.n_rows)
        at = end
        multiply(gradient, z, peaks.h, False)  # noqa: FBT003
        multiply(found.h[run], z[:n].T, tile[:n, :columns], True)  # noqa: FBT003
        for t in range(n):
            found.intercept[start + t] = _sum(z[t, : peaks.n_rows])
            for e in range(found.embedding.shape[1]):
                found.embedding[start + t, e] = gradient[t, e]
    found.n_open[run] = at - pairs.first[run]


@njit
def _load(tile: Any, cells: Any, start: int, n: int) -> None:
    """Fill the tile's first n rows: effective embedding, zeros, effective intercept."""
    width = cells.embedding.shape[1]
    for t in range(n):
        row = tile[t]
        for e in range(width):
            row[e] = cells.embedding[start + t, e]
        row[-1] = cells.intercept[start + t]
        if cells.batch.size:
            batch = cells.batch[start + t]
            for e in range(width):
                row[e] += cells.batch_embedding[batch, e]
            row[-1] += cells.batch_intercept[batch]


@njit
def _turn_open(z: Any, pairs: Any, first: Any, start: Any, n: Any, n_rows: Any) -> Any:
    """Change the sign at the tile's positives, from `first`; return where the next tile's begin.

    A positive out of place ends the tile: it must not be written to.
    """
    k = first
    while k < pairs.cell.size and start <= pairs.cell[k] < start + n:
        if not 0 <= pairs.row[k] < n_rows:
            break
        z[pairs.cell[k] - start, pairs.row[k]] *= -_ONE
        k += 1
    return k


@njit(fastmath={"contract"}, error_model="numpy")
def _to_residual(z: Any, n: Any, losses: Any, scale: Any) -> Any:
    """Return the sum of softplus(z) over n rows, and turn them into sigmoid(z) * scale."""
    losses[:] = _ZERO
    for t in range(n):
        row = z[t]
        for b in range(losses.size):
            x = row[b]
            power = exp(-abs(x))
            share = _ONE / (_ONE + power)
            losses[b] += (_ZERO if x < _ZERO else x) + log1p(power)  # x as it is where NaN
            row[b] = (power * share if x < _ZERO else share) * scale
    total = 0.0
    for b in range(losses.size):
        total += losses[b]
    return total


@njit(fastmath={"contract", "reassoc", "nsz"})
def _sum(values: Any) -> Any:
    total = _ZERO
    for b in range(values.size):
        total += values[b]
    return total
