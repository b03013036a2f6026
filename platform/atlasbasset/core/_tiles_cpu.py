"""The linear maps of minimal filtering on CPU: between rows of sequences and points of tiles.

A tile is a run of rows of one sequence, (B, L, C); tile t of a sequence begins at row
``t * step - lead`` and the tiles of all sequences are counted through. `to_points` maps the rows of
each tile to its points, channel by channel, by a small matrix; `from_points` is the reverse way
and adds what tiles that overlap have for a row. Rows before a sequence's begin and after its end
are zero and are not written.

Arrays are float32, points (points, tiles, C), so that each point is one matrix. Every element is
summed in a fixed order, whatever the number of threads.
"""
# numba compiles these loops; plain index loops are what it vectorises best.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["add_at", "from_points", "points_weight", "to_points", "weight_points"]

_TERMS = 4
"""Rows that one pass of the inner loop adds; matrices have a multiple of it."""
_CHANNELS = 8
"""Channels of a weight that are turned together: neighbours in memory for every filter."""


@njit(inline="always")
def _mix(p: Any, q: Any, r: Any, s: Any, factors: Any, add: Any, out: Any) -> None:
    """``out = factors @ (p, q, r, s)``, or with `add` ``out += ...``; four rows, four factors."""
    a, b, c, d = factors[0], factors[1], factors[2], factors[3]
    if add:
        for i in range(out.size):
            out[i] += (a * p[i] + b * q[i]) + (c * r[i] + d * s[i])
    else:
        for i in range(out.size):
            out[i] = (a * p[i] + b * q[i]) + (c * r[i] + d * s[i])


@njit(inline="always")
def _with_zeros(rows: Any, first: Any, count: Any) -> Any:
    """Return rows [first, first + count), zero where there are none."""
    padded = np.zeros((count, rows.shape[1]), np.float32)
    start, stop = max(first, 0), min(first + count, rows.shape[0])
    padded[start - first : stop - first] = rows[start:stop]
    return padded


@njit(parallel=True, cache=True, fastmath={"contract"})
def _to_points(x: Any, matrix: Any, step: Any, lead: Any, out: Any) -> None:
    n_tiles = out.shape[1] // x.shape[0]
    n_points, size = matrix.shape
    for at in prange(out.shape[1]):
        rows, first = x[at // n_tiles], (at % n_tiles) * step - lead
        if first < 0 or first + size > rows.shape[0]:
            tile = _with_zeros(rows, first, size)
        else:
            tile = rows[first : first + size]
        for p in range(n_points):
            for k in range(0, size, _TERMS):
                a, b, c, d = tile[k], tile[k + 1], tile[k + 2], tile[k + 3]
                _mix(a, b, c, d, matrix[p, k:], k > 0, out[p, at])


def to_points(
    x_BLC: NDArray[np.float32],
    matrix: NDArray[np.float32],
    *,
    step: int,
    lead: int,
    out: NDArray[np.float32],
) -> None:
    """Write the points of all tiles, ``matrix @ rows``.

    Parameters
    ----------
    matrix
        (points, rows of a tile), both multiples of 4.
    step, lead
        Tile t begins at row ``t * step - lead``.
    out
        (points, tiles, C); as many tiles of each sequence.
    """
    _to_points(x_BLC, matrix, step, lead, out)


@njit(parallel=True, cache=True, fastmath={"contract"})
def _from_points(points: Any, matrix: Any, step: Any, lead: Any, out: Any) -> None:
    length, n_tiles = out.shape[1], points.shape[1] // out.shape[0]
    n_runs = n_tiles + (matrix.shape[0] - 1) // step
    for run in prange(out.shape[0] * n_runs):
        b, t = run // n_runs, run % n_runs
        for j in range(step):
            row = t * step + j - lead
            if 0 <= row < length:
                added = False
                for back in range(matrix.shape[0] // step):
                    if 0 <= t - back < n_tiles:
                        at, factors = b * n_tiles + t - back, matrix[back * step + j]
                        for k in range(0, factors.size, _TERMS):
                            u, v = points[k, at], points[k + 1, at]
                            w, x = points[k + 2, at], points[k + 3, at]
                            _mix(u, v, w, x, factors[k:], added, out[b, row])
                            added = True


def from_points(
    points: NDArray[np.float32],
    matrix: NDArray[np.float32],
    *,
    step: int,
    lead: int,
    out: NDArray[np.float32],
) -> None:
    """Write all rows of sequences, the sums of ``matrix @ points`` over the tiles that hold them.

    Parameters
    ----------
    points
        (points, tiles, C).
    matrix
        (rows of a tile, points); the rows a multiple of `step`, the points of 4.
    step, lead
        Tile t begins at row ``t * step - lead``.
    out
        (B, L, C); every row must be in a tile.
    """
    _from_points(points, matrix, step, lead, out)


@njit(parallel=True, cache=True, fastmath={"contract"})
def _weight_points(matrix: Any, weight: Any, out: Any) -> None:
    n_filters, n_channels, width = weight.shape
    for run in prange((out.shape[1] + _CHANNELS - 1) // _CHANNELS):
        first, stop = run * _CHANNELS, min((run + 1) * _CHANNELS, n_channels)
        taps, sums = np.empty((_CHANNELS, width, n_filters), np.float32), np.empty(n_filters)
        for f in range(n_filters):
            for c in range(first, stop):
                for k in range(width):
                    taps[c - first, k, f] = weight[f, c, k]
        for c in range(first, stop):
            for p in range(matrix.shape[0]):
                sums[:] = 0
                for k in range(width):
                    factor, row = matrix[p, k], taps[c - first, k]
                    for i in range(sums.size):
                        sums[i] += factor * row[i]
                out[p, c, :n_filters] = sums
                out[p, c, n_filters:] = 0
        out[:, max(stop, first) : first + _CHANNELS] = 0


def weight_points(
    matrix: NDArray[np.float64], weight_FCK: NDArray[np.float32], *, out: NDArray[np.float32]
) -> None:
    """Write a weight's values at all points, ``matrix @ taps``, summed in float64.

    Parameters
    ----------
    matrix
        (points, K).
    weight_FCK
        As it is stored.
    out
        (points, C', F') with as many channels and filters or more, which get zeros.
    """
    _weight_points(matrix, weight_FCK, out)


@njit(parallel=True, cache=True, fastmath={"contract"})
def _points_weight(matrix: Any, points: Any, out: Any) -> None:
    n_filters, n_channels, width = out.shape
    for run in prange((n_channels + _CHANNELS - 1) // _CHANNELS):
        first, stop = run * _CHANNELS, min((run + 1) * _CHANNELS, n_channels)
        taps = np.zeros((_CHANNELS, width, n_filters))
        for c in range(first, stop):
            for k in range(width):
                sums = taps[c - first, k]
                for p in range(matrix.shape[1]):
                    factor, row = matrix[k, p], points[p, c]
                    for i in range(n_filters):
                        sums[i] += factor * row[i]
        for f in range(n_filters):
            for c in range(first, stop):
                for k in range(width):
                    out[f, c, k] = taps[c - first, k, f]


def points_weight(
    matrix: NDArray[np.float64], points: NDArray[np.float32], *, out: NDArray[np.float32]
) -> None:
    """Write ``matrix @ points`` in a weight's stored shape, summed in float64.

    Parameters
    ----------
    matrix
        (K, points).
    points
        (points, C', F'), at least of the weight's sizes; what is beyond them is left out.
    out
        (F, C, K).
    """
    _points_weight(matrix, points, out)


@njit(parallel=True, cache=True)
def _add_at(kept: Any, rows: Any, firsts: Any, added: Any, offsets: Any, out: Any) -> None:
    for m in prange(out.shape[0]):
        source = kept[rows[m]]
        for j in range(out.shape[1]):
            before, row = source[firsts[m] + j], out[m, j]
            k = j - offsets[m]
            if 0 <= k < added.shape[1]:
                change = added[m, k]
                for i in range(row.size):
                    row[i] = before[i] + change[i]
            else:
                row[:] = before


def add_at(
    kept_BLC: NDArray[np.float32],
    rows_M: NDArray[np.int64],
    firsts_M: NDArray[np.int64],
    added: NDArray[np.float32],
    offsets_M: NDArray[np.int64],
    *,
    out: NDArray[np.float32],
) -> None:
    """Write stretches of sequences, other rows added to some of theirs.

    Parameters
    ----------
    rows_M, firsts_M
        Which sequence, and where in it the stretch begins.
    added
        (M, rows, C); what falls outside the stretch is left out.
    offsets_M
        Where in the stretch they begin; negative before it.
    out
        (M, size, C).
    """
    _add_at(kept_BLC, rows_M, firsts_M, added, offsets_M, out)
