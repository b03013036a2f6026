"""The loops over positives: count, then scatter (a counting sort by peak).

A run is cell-major: ``n_open`` holds each cell's number of open peaks, ``peaks`` their columns one
cell after the other. Compiled, and without the GIL, so that threads run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Columns = NDArray[np.uint32]

__all__ = ["add_cells_with_peak", "add_counts", "kept_depth", "scatter"]


@numba.njit(nogil=True, cache=True)
def add_cells_with_peak(
    peaks: Columns, n_open: Columns, least: int, cells_with_peak: NDArray[np.int64]
) -> None:
    """Count, per peak, the cells in which it is open and that have at least `least` open peaks."""
    at = 0
    for cell in range(len(n_open)):
        stop = at + n_open[cell]
        if n_open[cell] >= least:
            for i in range(at, stop):
                cells_with_peak[peaks[i]] += 1
        at = stop


@numba.njit(nogil=True, cache=True)
def kept_depth(
    peaks: Columns, n_open: Columns, kept: NDArray[np.bool_], depth: NDArray[np.uint32]
) -> None:
    """Write, per cell, how many of its open peaks are kept."""
    at = 0
    for cell in range(len(n_open)):
        stop = at + n_open[cell]
        found = 0
        for i in range(at, stop):
            found += kept[peaks[i]]
        depth[cell] = found
        at = stop


@numba.njit(nogil=True, cache=True)
def add_counts(
    peaks: Columns,
    n_open: Columns,
    number: NDArray[np.int32],
    row: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Count the positives of each peak row.

    ``number`` is each cell's index in the block and ``row`` each column's peak row, -1 for what
    is not wanted.
    """
    at = 0
    for cell in range(len(n_open)):
        stop = at + n_open[cell]
        if number[cell] >= 0:
            for i in range(at, stop):
                if row[peaks[i]] >= 0:
                    counts[row[peaks[i]]] += 1
        at = stop


@numba.njit(nogil=True, cache=True)
def scatter(
    peaks: Columns,
    n_open: Columns,
    number: NDArray[np.int32],
    row: NDArray[np.int32],
    first_row: int,
    cursor: NDArray[np.int64],
    cells: NDArray[np.uint16],
) -> None:
    """Put each positive of rows [first_row, first_row + len(cursor)) at its row's cursor.

    Cells come in rising order, so they rise within each row.
    """
    at = 0
    n_rows = len(cursor)
    for cell in range(len(n_open)):
        stop = at + n_open[cell]
        if number[cell] >= 0:
            for i in range(at, stop):
                r = row[peaks[i]] - first_row
                if 0 <= r < n_rows:
                    cells[cursor[r]] = number[cell]
                    cursor[r] += 1
        at = stop
