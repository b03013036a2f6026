"""AnnData inputs: .h5ad files and .zarr stores (v2 or v3), backed: X is never read whole.

X is cells x peaks as CSR, CSC or dense. CSR and dense are read by runs of cells. CSC is stored by
peaks, so any run of cells costs a scan of all of X: `cells_per_read` asks for all cells at once,
and the scan keeps the wanted cells while it passes through bounded ranges of peaks. Raw counts
must be in X; layers and `raw` are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import zarr
from scipy.sparse import coo_array, csr_array, vstack

from atlasstore import urls
from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Subscriber, ignore
from atlasstore.inputs.counts import canonical_counts, check_unique
from atlasstore.inputs.features import peak_rows
from atlasstore.inputs.hdf5 import open_hdf5, readable
from atlasstore.peaks import peaks_from_var

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    ReadRows = Callable[[int, int], Any]

__all__ = ["AnnDataSource", "open_h5ad", "open_zarr"]

_CELLS_PER_READ = 1024
_DENSE_BYTES = 1 << 28
_SCAN_ENTRIES = 1 << 24


def open_h5ad(url: str | Path, *, on_event: Subscriber = ignore) -> AnnDataSource:
    """Open an .h5ad file.

    Raises
    ------
    CountsError, PeaksError
        When it is missing, cut, not AnnData, or its obs, var or X cannot be used.
    """
    file = open_hdf5(url)
    try:
        return AnnDataSource(file, name=str(url), close=file.close, on_event=on_event)
    except BaseException:
        file.close()
        raise


def open_zarr(url: str | Path, *, on_event: Subscriber = ignore) -> AnnDataSource:
    """Open an AnnData .zarr store, zarr format 2 or 3, at a path or URL.

    Raises
    ------
    CountsError, PeaksError
        When it is missing, not AnnData, or its obs, var or X cannot be used.
    """
    with readable(str(url), what="a zarr group"):
        group = zarr.open_group(urls.zarr_store(url, read_only=True), mode="r")
    return AnnDataSource(group, name=str(url), close=lambda: None, on_event=on_event)


class AnnDataSource:
    """A `CountsSource` over an AnnData group of HDF5 or zarr.

    Parameters
    ----------
    group
        h5py or zarr group with ``X``, ``obs`` and ``var``.
    name
        The path or URL, for messages.
    close
        Called by `close`.
    on_event
        Hears how many features that are not peaks were left out.
    """

    def __init__(
        self, group: Any, *, name: str, close: Callable[[], None], on_event: Subscriber = ignore
    ) -> None:
        self.name = name
        self.close = close
        _check_parts(group, name)
        self.obs = _table(group, "obs", name)
        self.obs.index = check_unique(self.obs.index, name=name)
        var = _table(group, "var", name)
        self._kept = _kept_columns(var, name, on_event)
        self.peaks = _peaks(var if self._kept is None else var.iloc[self._kept], name)
        with readable(name, what="an X"):
            x = group["X"]
            self._read, by_cell = _reader(x)
            self._check_shape(_shape(x), n_features=len(var))
        self.cells_per_read = min(_CELLS_PER_READ, len(self.obs)) if by_cell else len(self.obs)

    def _check_shape(self, shape: tuple[int, ...], *, n_features: int) -> None:
        if shape != (len(self.obs), n_features):
            raise CountsError(
                f"{self.name} has X of shape {shape} but {len(self.obs):,} rows in obs and "
                f"{n_features:,} in var; write it again with anndata."
            )

    def read_cells(self, start: int, stop: int) -> csr_array:
        """Return the counts of cells [start, stop), int32, shape (stop - start, n_peaks)."""
        with readable(self.name, what=f"counts of cells {start}-{stop}"):
            counts = self._read(start, stop)
        if self._kept is not None:
            counts = counts[:, self._kept]
        return canonical_counts(counts, name=self.name, first_cell=start)


def _check_parts(group: Any, name: str) -> None:
    missing = [part for part in ("X", "obs", "var") if part not in group]
    if missing:
        raise CountsError(
            f"{name} has no {', '.join(missing)}, so it is not an AnnData with counts; give one "
            "with raw counts in X (cells x peaks)."
        )


def _table(group: Any, part: str, name: str) -> pd.DataFrame:
    with readable(name, what="an obs table" if part == "obs" else "a var table"):
        table = anndata.io.read_elem(group[part])
    if not isinstance(table, pd.DataFrame):
        raise CountsError(f"{name} has {part} of an unknown kind; write it again with anndata.")
    return table


def _kept_columns(var: pd.DataFrame, name: str, on_event: Subscriber) -> Ints | None:
    if "feature_types" not in var:
        return None
    return peak_rows(var["feature_types"].astype(str).to_numpy(), name=name, on_event=on_event)


def _peaks(var: pd.DataFrame, name: str) -> pd.DataFrame:
    try:
        return peaks_from_var(var)
    except PeaksError as error:
        raise PeaksError(f"{name}: {error}") from error


def _shape(x: Any) -> tuple[int, ...]:
    shape = x.shape if hasattr(x, "shape") else anndata.io.sparse_dataset(x).shape
    return tuple(int(size) for size in shape)


def _reader(x: Any) -> tuple[ReadRows, bool]:
    """Return the function that reads rows [start, stop) and whether it reads only those."""
    if hasattr(x, "shape"):
        return _DenseRows(x), True
    backed = anndata.io.sparse_dataset(x)
    if backed.format == "csr":
        return (lambda start, stop: backed[start:stop]), True
    return _ScannedRows(x), False


class _DenseRows:
    """Rows of a dense array, made sparse in pieces of at most `_DENSE_BYTES`."""

    def __init__(self, x: Any) -> None:
        self._x = x
        row_bytes = x.shape[1] * x.dtype.itemsize
        self._step = max(1, _DENSE_BYTES // max(1, row_bytes))

    def __call__(self, start: int, stop: int) -> csr_array:
        parts = [
            csr_array(self._x[first : min(first + self._step, stop)])
            for first in range(start, stop, self._step)
        ]
        return csr_array(vstack(parts, format="csr")) if parts else self._none()

    def _none(self) -> csr_array:
        return csr_array((0, self._x.shape[1]), dtype=self._x.dtype)


class _ScannedRows:
    """Rows of a CSC matrix, found by passing through all of it."""

    def __init__(self, x: Any) -> None:
        self._data, self._indices = x["data"], x["indices"]
        self._indptr: Ints = np.asarray(x["indptr"][:], dtype=np.int64)
        self._n_columns = self._indptr.size - 1

    def __call__(self, start: int, stop: int) -> csr_array:
        parts = [self._entries(first, last, start, stop) for first, last in self._ranges()]
        rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
        return coo_array((values, (rows, columns)), shape=(stop - start, self._n_columns)).tocsr()

    def _ranges(self) -> Iterator[tuple[int, int]]:
        """Yield column ranges of at most `_SCAN_ENTRIES` entries, or of one column."""
        first = 0
        while first < self._n_columns:
            limit = self._indptr[first] + _SCAN_ENTRIES
            last = int(np.searchsorted(self._indptr, limit, side="right")) - 1
            last = max(first + 1, last)
            yield first, last
            first = last

    def _entries(self, first: int, last: int, start: int, stop: int) -> tuple[Any, Any, Any]:
        begin, end = int(self._indptr[first]), int(self._indptr[last])
        rows = np.asarray(self._indices[begin:end])
        kept = np.flatnonzero((rows >= start) & (rows < stop))
        sizes = np.diff(self._indptr[first : last + 1])
        columns = np.repeat(np.arange(first, last), sizes)[kept]
        return rows[kept] - start, columns, np.asarray(self._data[begin:end])[kept]
