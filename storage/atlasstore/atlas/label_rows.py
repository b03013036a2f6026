"""Open cells of peaks as CSR rows, and the combination of the parts of a block."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LabelRows", "merged"]


class LabelRows(NamedTuple):
    """Open cells of consecutive peaks in one cell block, as CSR rows (one row per peak)."""

    indptr: NDArray[np.int64]
    """int64, shape (n_peaks + 1,), starting at 0."""
    indices: NDArray[np.uint16]
    """uint16, shape (indptr[-1],): cells counted from the block's start, ascending in each row."""


def merged(parts: Sequence[LabelRows]) -> LabelRows:
    """Return the rows of all parts of a block, one behind the other within each peak.

    Parts are in the cells' order, so cells rise within each row.
    """
    if len(parts) == 1:
        return parts[0]
    indptr = np.sum([part.indptr for part in parts], axis=0)
    indices = np.empty(int(indptr[-1]), np.uint16)
    row_start = indptr[:-1].copy()
    for part in parts:
        sizes = np.diff(part.indptr)
        indices[np.arange(len(part.indices)) + np.repeat(row_start - part.indptr[:-1], sizes)] = (
            part.indices
        )
        row_start += sizes
    return LabelRows(indptr, indices)
