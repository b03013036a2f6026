"""Where labels come from while predictions are measured.

Letters: P peaks, N cells. A label is true where the cell has at least one fragment in the peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelSource", "SparseLabels"]


class LabelSource(Protocol):
    """Labels of P peaks x N cells, handed out a dense tile at a time."""

    n_peaks: int
    n_cells: int

    def cells(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Give cells [start, stop), 0-based half-open: bool (P, stop - start)."""

    def peaks(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Give peaks [start, stop), 0-based half-open: bool (stop - start, N)."""


class SparseLabels:
    """Labels in memory, sparse both ways: about 8-16 bytes per positive.

    Parameters
    ----------
    matrix
        A scipy sparse matrix or array, peaks x cells, of any number type; every stored value that
        is not zero is a positive.
    """

    def __init__(self, matrix: sp.sparray | sp.spmatrix) -> None:
        by_peak = sp.csr_array(matrix != 0)
        self.n_peaks, self.n_cells = by_peak.shape
        self._by_peak, self._by_cell = by_peak, by_peak.tocsc()

    def cells(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Give cells [start, stop): bool (P, stop - start), column-major."""
        return _dense_rows(self._by_cell, start, stop).T

    def peaks(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Give peaks [start, stop): bool (stop - start, N)."""
        return _dense_rows(self._by_peak, start, stop)


def _dense_rows(matrix: sp.csr_array | sp.csc_array, start: int, stop: int) -> NDArray[np.bool_]:
    """Unpack major rows [start, stop) of a compressed matrix."""
    length = matrix.shape[0] if matrix.format == "csc" else matrix.shape[1]
    indptr = matrix.indptr[start : stop + 1]
    rows = np.repeat(np.arange(stop - start), np.diff(indptr))
    dense = np.zeros((stop - start, length), np.bool_)
    dense[rows, matrix.indices[indptr[0] : indptr[-1]]] = True
    return dense
