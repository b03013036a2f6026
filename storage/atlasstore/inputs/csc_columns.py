"""An AnnData whose X is stored by peaks (CSC), counted in ranges of its columns."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.inputs.anndata_file import anndata_group
from atlasstore.inputs.anndata_input import (
    counts_of,
    describe_anndata,
    shape_and_layout,
)
from atlasstore.inputs.barcodes import selected_rows
from atlasstore.inputs.compressed import CompressedMatrix
from atlasstore.inputs.counts import canonical_counts
from atlasstore.inputs.source import Cells, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy.typing as npt

    from atlasstore.events import Subscriber
    from atlasstore.inputs.source import Add
    from atlasstore.inputs.spec import SourceSpec

    Ints = npt.NDArray[np.int64]

__all__ = ["ColumnPieces"]

_ENTRIES_PER_PIECE = 1 << 27
_BYTES_PER_ENTRY = 96
"""Of one entry while it is read, checked and put in order, measured."""


class ColumnPieces:
    """Columns of X in ranges; a piece is [first, last) of the stored features."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        described = describe_anndata(spec.url, matrix=spec.matrix)
        assert described.obs is not None
        self.peaks = described.peaks
        self._n_cells = len(described.obs)
        self._rows = selected_rows(described.obs.index, spec.barcodes, name=spec.name)
        self._obs = described.obs if self._rows is None else described.obs.iloc[self._rows]
        self._columns = described.columns

    def plan(self, n_workers: int) -> list[Piece]:
        """Return ranges of columns with about equally many entries."""
        with self._opened() as matrix:
            indptr = matrix.indptr
        n_pieces = max(n_workers, -(-int(indptr[-1]) // _ENTRIES_PER_PIECE))
        wanted = np.linspace(0, indptr[-1], min(n_pieces, indptr.size - 1) + 1)[1:-1]
        cuts = np.unique([0, *np.searchsorted(indptr, wanted), indptr.size - 1]).tolist()
        return list(itertools.pairwise(cuts))

    def count(
        self, piece: Piece, add: Add, *, memory_bytes: int, on_event: Subscriber
    ) -> dict[str, Any]:
        """Add the counts of a range of columns."""
        del on_event  # one piece is one step of progress
        with self._opened() as matrix:
            limit = max(1, memory_bytes // _BYTES_PER_ENTRY)
            for columns in _ranges(matrix.indptr, piece, limit):
                self._add(matrix, columns, add)
        return {}

    @contextmanager
    def _opened(self) -> Iterator[CompressedMatrix]:
        spec = self._spec
        with anndata_group(spec.url, name=spec.name) as group:
            stored = counts_of(group, spec.matrix, name=spec.name)
            n_cells, n_features = shape_and_layout(stored)[0]
            yield CompressedMatrix(stored, (n_features, n_cells), name=spec.name)

    def _add(self, matrix: CompressedMatrix, columns: Piece, add: Add) -> None:
        stored = matrix.read(*columns, unit="peaks").T
        kept, peaks = self._kept(*columns)
        by_cell = (stored if kept is None else stored[:, kept]).tocsr()
        counts = canonical_counts(by_cell, name=self._spec.name, first_cell=0, columns=peaks)
        chosen = (counts if self._rows is None else counts[self._rows]).tocoo()
        add(chosen.coords[0], peaks[chosen.coords[1]], chosen.data)

    def _kept(self, first: int, last: int) -> tuple[Ints | None, Ints]:
        """Return the columns from `first` on that are peaks, and which peaks they are."""
        if self._columns is None:
            return None, np.arange(first, last)
        low, high = np.searchsorted(self._columns, [first, last])
        return self._columns[low:high] - first, np.arange(low, high)

    def cells(self, facts: Sequence[dict[str, Any]], notice: Callable[[str], None]) -> Cells:
        """Return the cells of obs, those of the barcode list where one is given."""
        del facts, notice
        return Cells(self._obs)


def _ranges(indptr: Ints, piece: Piece, limit: int) -> Iterator[Piece]:
    """Cut a range of columns into ranges of at most `limit` entries, or of one column."""
    first, stop = piece
    while first < stop:
        last = int(np.searchsorted(indptr, indptr[first] + limit, side="right")) - 1
        last = min(stop, max(first + 1, last))
        yield first, last
        first = last
