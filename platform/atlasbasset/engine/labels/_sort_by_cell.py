"""A batch's open pairs in the cells' order: a counting sort, compiled, free of Python's lock.

Labels are stored by peak; the loss needs them by cell. At a million cells a batch has some three
million pairs, sorted while the step before computes: its cost is processor time of one core.
"""
# numba compiles these loops

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pairs_by_cell"]


def pairs_by_cell(
    indptr: NDArray[np.int64],
    indices: NDArray[np.uint16],
    rows: NDArray[np.int64],
    place: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the open pairs of `rows` sorted by the cells' places.

    Parameters
    ----------
    indptr, indices
        CSR rows of a cell block, one per peak.
    rows
        (B,) rows of the batch.
    place
        (cells of the block,) where each cell goes, ascending; -1 for cells that are left out.

    Returns
    -------
    cell, row
        int64 (pairs,): places, ascending, and rows of the batch, ascending within a cell.
    """
    starts = np.zeros(len(place) + 1, np.int64)
    _count(indptr, indices, rows, place, starts[1:])
    np.cumsum(starts, out=starts)
    cell, row = np.empty(starts[-1], np.int64), np.empty(starts[-1], np.int64)
    _deal(indptr, indices, rows, place, starts, cell, row)
    return cell, row


@njit(nogil=True, cache=True)
def _count(indptr: Any, indices: Any, rows: Any, place: Any, counts: Any) -> None:
    for peak in rows:
        for at in range(indptr[peak], indptr[peak + 1]):
            cell = indices[at]
            if place[cell] >= 0:
                counts[cell] += 1


@njit(nogil=True, cache=True)
def _deal(
    indptr: Any, indices: Any, rows: Any, place: Any, starts: Any, cells: Any, batch_rows: Any
) -> None:
    for i in range(len(rows)):
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            cell = indices[at]
            if place[cell] >= 0:
                to = starts[cell]
                starts[cell] = to + 1
                cells[to] = place[cell]
                batch_rows[to] = i
