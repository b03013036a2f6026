"""Counts in any order put in the order of cells, within a memory bound, by way of the disk.

Entries (cell, peak, count) are collected until the bound, sorted by cell and peak, added up where
they fall on one place, and written as a *run*: a small CSR matrix. `merge_runs` then reads the same
range of cells from all runs, range by range, and writes one CSR matrix, cells x peaks. Both steps
pass over the entries once; neither holds more than the bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array, csr_array

from atlasstore.files import urls
from atlasstore.zarrio import arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    import zarr

    Ints = npt.NDArray[np.int64]
    Shorts = npt.NDArray[np.int32]
    Either = npt.NDArray[np.int32] | npt.NDArray[np.int64]

__all__ = ["BYTES_PER_ENTRY", "Run", "RunWriter", "cell_ranges", "merge_runs"]

BYTES_PER_ENTRY = 48
"""Of one entry while entries are put in order, measured."""

_CHUNK_ENTRIES = 1 << 18
_CHUNK_CELLS = 1 << 16


class RunWriter:
    """Writes entries as runs below `url`.

    Parameters
    ----------
    url
        A folder that is there for these runs alone; what is stored there is deleted.
    n_peaks
        Columns of the matrix.
    memory_bytes
        What collecting and sorting may take, at least 64 bytes.
    """

    def __init__(self, url: str, *, n_peaks: int, memory_bytes: int) -> None:
        urls.delete(url)
        self._url, self._n_peaks = url, n_peaks
        self._limit = max(1, memory_bytes // BYTES_PER_ENTRY)
        self._parts: list[coo_array] = []
        self._n_entries = 0
        self.n_runs = 0

    def add(self, cell: Ints, peak: Ints, count: Ints) -> None:
        """Add entries, arrays of one length; a pair may come any number of times."""
        for first in range(0, len(cell), self._limit):
            part = slice(first, first + self._limit)
            reduced = _reduced([cell[part]], [peak[part]], [count[part]], self._n_peaks)
            if self._n_entries + reduced.nnz > self._limit:
                self._spill()
            self._parts.append(reduced.tocoo())
            self._n_entries += reduced.nnz

    def close(self) -> int:
        """Write what is left and return how many runs there are."""
        self._spill()
        return self.n_runs

    def _spill(self) -> None:
        if not self._parts:
            return
        cells, peaks = ([part.coords[axis] for part in self._parts] for axis in (0, 1))
        run = _reduced(cells, peaks, [part.data for part in self._parts], self._n_peaks)
        self._parts, self._n_entries = [], 0
        write_run(urls.join(self._url, f"{self.n_runs}"), run)
        self.n_runs += 1


def _reduced(
    cells: Sequence[Either], peaks: Sequence[Either], counts: Sequence[Either], n_peaks: int
) -> csr_array:
    """Return entries in order, those of one place added up; as many rows as cells are named."""
    cell, peak, count = (
        np.concatenate(parts).astype(np.int32, copy=False) for parts in (cells, peaks, counts)
    )
    n_cells = int(cell.max()) + 1 if cell.size else 0
    return coo_array((count, (cell, peak)), shape=(n_cells, n_peaks)).tocsr()


def write_run(url: str, counts: csr_array) -> None:
    """Write one run."""
    group = urls.create_group(url)
    for name, values, dtype in (
        ("indptr", counts.indptr, np.int64),
        ("indices", counts.indices, np.int32),
        ("counts", counts.data, np.int32),
    ):
        array = create_vector(group, name, len(values), dtype)
        array[:] = values


def create_vector(group: zarr.Group, name: str, size: int, dtype: type) -> zarr.Array[Any]:
    """Create a one-dimensional array in chunks fit for runs of cells."""
    chunk = _CHUNK_CELLS if name == "indptr" else _CHUNK_ENTRIES
    return arrays.create_array(
        group, name, shape=(size,), dtype=dtype, chunk_rows=chunk, axes=(name,)
    )


class Run:
    """A written run, read by ranges of cells."""

    def __init__(self, url: str) -> None:
        self._url = url
        group = urls.open_group(url)
        self._indptr, self._indices, self._counts = (
            arrays.member(group, name, url=url) for name in ("indptr", "indices", "counts")
        )
        self.n_cells = int(self._indptr.shape[0]) - 1

    def entries_per_cell(self) -> Ints:
        """Return the entries of each cell up to the last that has one, int64."""
        return np.diff(arrays.read_array(self._indptr, 0, self.n_cells + 1, url=self._url))

    def read(self, start: int, stop: int) -> tuple[Shorts, Shorts, Shorts]:
        """Return (cell - start, peak, count) of the entries of cells [start, stop)."""
        start, stop = min(start, self.n_cells), min(stop, self.n_cells)
        edges = arrays.read_array(self._indptr, start, stop + 1, url=self._url)
        first, last = int(edges[0]), int(edges[-1])
        cell = np.repeat(np.arange(stop - start, dtype=np.int32), np.diff(edges))
        peak, count = (
            arrays.read_array(array, first, last, url=self._url)
            for array in (self._indices, self._counts)
        )
        return cell, peak, count

    def renumbered(self, numbers: Ints) -> Run:
        """Return a run beside this one whose cell i is cell ``numbers[i]`` here.

        The whole run is in memory meanwhile: no more than its writer had collected.
        """
        cell, peak, count = self.read(0, self.n_cells)
        url = f"{self._url}-renumbered"
        urls.delete(url)
        n_peaks = int(peak.max(initial=-1)) + 1
        write_run(url, _reduced([numbers[cell]], [peak], [count], n_peaks))
        return Run(url)


def cell_ranges(entries_per_cell: Ints, limit: int) -> Iterator[tuple[int, int]]:
    """Cut the cells into ranges [start, stop) of at most `limit` entries, or of one cell."""
    ends = np.cumsum(entries_per_cell)
    start, done = 0, 0
    while start < len(ends):
        stop = max(start + 1, int(np.searchsorted(ends, done + limit, side="right")))
        yield start, stop
        start, done = stop, int(ends[stop - 1])


def merge_runs(
    runs: Sequence[Run], group: zarr.Group, *, shape: tuple[int, int], memory_bytes: int
) -> None:
    """Write the sum of all runs into `group` as CSR: data, indices (int32), indptr (int64).

    Parameters
    ----------
    runs
        All of one matrix, cells by the same numbers.
    group
        Empty.
    shape
        Cells and peaks.
    memory_bytes
        What one range of cells may take.
    """
    per_cell = np.zeros(shape[0], np.int64)
    for run in runs:
        per_cell[: run.n_cells] += run.entries_per_cell()
    total = int(per_cell.sum())  # of the result at most: places of several runs become one
    names = {"data": np.int32, "indices": np.int32}
    written = {name: create_vector(group, name, total, kind) for name, kind in names.items()}
    indptr, at = np.zeros(shape[0] + 1, np.int64), 0
    for start, stop in cell_ranges(per_cell, max(1, memory_bytes // BYTES_PER_ENTRY)):
        part = _merged(runs, start, stop, shape[1])
        written["data"][at : at + part.nnz] = part.data
        written["indices"][at : at + part.nnz] = part.indices
        indptr[start + 1 : stop + 1] = at + part.indptr[1:]
        at += part.nnz
        del part  # not beside the next one
    for array in written.values():
        array.resize((at,))
    create_vector(group, "indptr", len(indptr), np.int64)[:] = indptr


def _merged(runs: Sequence[Run], start: int, stop: int, n_peaks: int) -> csr_array:
    none = np.zeros(0, np.int32)
    parts = [(none, none, none), *(run.read(start, stop) for run in runs)]
    cell, peak, count = (np.concatenate(values) for values in zip(*parts, strict=True))
    del parts
    return coo_array((count, (cell, peak)), shape=(stop - start, n_peaks)).tocsr()
