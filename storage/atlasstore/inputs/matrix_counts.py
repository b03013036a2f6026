"""Counts read from a stored matrix: cells selected, peaks put in order, values checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array, vstack

from atlasstore.inputs.counts import canonical_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from atlasstore.inputs.source import CountsMatrix

    Ints = npt.NDArray[np.int64]

__all__ = ["CELLS_PER_READ", "MatrixCounts"]

CELLS_PER_READ = 1024
"""Cells of one read at least; at 10,000 open peaks a cell this is 80 MB."""

_CELLS_PER_SPAN = 16_384


class MatrixCounts:
    """The counts of an input by runs of cells, as `CountsSource.read_cells` gives them.

    Parameters
    ----------
    matrix
        The open matrix; closed by `close`.
    name
        The input's path or URL, for messages.
    rows
        The matrix's rows that are the cells, rising, int64; None for all.
    columns
        The matrix's columns that are the peaks, in the peaks' order, int64; None for all.
    """

    def __init__(
        self,
        matrix: CountsMatrix,
        *,
        name: str,
        rows: Ints | None = None,
        columns: Ints | None = None,
    ) -> None:
        self.name = name
        self.close = matrix.close
        self.n_cells = matrix.n_cells if rows is None else len(rows)
        self.n_peaks = matrix.n_features if columns is None else len(columns)
        self._matrix, self._rows, self._columns = matrix, rows, columns

    def read_cells(self, start: int, stop: int) -> csr_array:
        """Return the counts of cells [start, stop), int32, canonical, (stop - start, n_peaks).

        Raises
        ------
        CountsError
            On values that are no counts, or bytes that cannot be read.
        """
        if self._rows is None:
            return self._canonical(self._matrix.read(start, stop), start)
        parts = [self._selected(rows) for rows in _spans(self._rows[start:stop])]
        if not parts:
            return csr_array((0, self.n_peaks), dtype=np.int32)
        return csr_array(vstack(parts, format="csr"))

    def _selected(self, rows: Ints) -> csr_array:
        first, last = int(rows[0]), int(rows[-1]) + 1
        return self._canonical(self._matrix.read(first, last), first)[rows - first]

    def _canonical(self, counts: Any, first_cell: int) -> csr_array:
        if self._columns is not None:
            counts = counts[:, self._columns]
        return canonical_counts(counts, name=self.name, first_cell=first_cell)


def _spans(rows: Ints) -> Iterator[Ints]:
    """Cut rising rows into parts that lie less than `_CELLS_PER_SPAN` apart."""
    while rows.size:
        taken = int(np.searchsorted(rows, rows[0] + _CELLS_PER_SPAN))
        yield rows[:taken]
        rows = rows[taken:]
