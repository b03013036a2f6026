"""AnnData inputs: .h5ad files and .zarr stores (v2 or v3), backed: X is never read whole.

X is cells x peaks as CSR, CSC or dense. CSR and dense are read by runs of cells. CSC is stored by
peaks, so any run of cells would cost a scan of all of X: it is counted in ranges of peaks into a
cell-major copy (see `atlasstore.inputs.cell_major_copy`). Raw counts must be in X; layers and
`raw` are not read.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anndata
import pandas as pd
import zarr
from scipy.sparse import csr_array, vstack

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Subscriber, ignore
from atlasstore.files import urls
from atlasstore.genome.peaks import peaks_from_var
from atlasstore.inputs.counts import check_unique
from atlasstore.inputs.hdf5 import open_hdf5, readable
from atlasstore.inputs.source import Description
from atlasstore.inputs.tenx_features import peak_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

__all__ = ["AnnDataMatrix", "anndata_group", "describe_anndata", "open_anndata", "read_obs"]

_DENSE_BYTES = 1 << 28


def _open_group(url: str | Path) -> tuple[Any, Callable[[], None]]:
    """Return the HDF5 or zarr group of an AnnData and what closes it."""
    if str(url).rstrip("/").lower().endswith((".h5ad", ".h5", ".hdf5")):
        file = open_hdf5(url)
        return file, file.close
    with readable(str(url), what="a zarr group"):
        group = zarr.open_group(urls.zarr_store(url, read_only=True), mode="r")
    return group, lambda: None


@contextmanager
def anndata_group(url: str | Path, *, name: str) -> Iterator[Any]:
    """Yield the group of an AnnData that has X, obs and var.

    Raises
    ------
    CountsError
        When it is missing, cut, or no AnnData with counts.
    """
    group, close = _open_group(url)
    try:
        _check_parts(group, name)
        yield group
    finally:
        close()


def describe_anndata(url: str | Path, *, on_event: Subscriber = ignore) -> Description:
    """Read the tables of an .h5ad or .zarr.

    Parameters
    ----------
    url
        Path or URL; zarr format 2 or 3.
    on_event
        Hears how many features that are not peaks were left out.

    Raises
    ------
    CountsError, PeaksError
        When it is missing, cut, not AnnData, or its obs, var or X cannot be used.
    """
    name = str(url)
    with anndata_group(url, name=name) as group:
        obs = _table(group, "obs", name)
        obs.index = check_unique(obs.index, name=name)
        var = _table(group, "var", name)
        with readable(name, what="an X"):
            shape, layout = _shape_and_layout(group["X"])
    _check_shape(name, shape, n_cells=len(obs), n_features=len(var))
    kept = _kept_columns(var, name, on_event)
    peaks = _peaks(var if kept is None else var.iloc[kept], name)
    return Description(obs, peaks, kept, by_cell=layout != "csc")


def read_obs(url: str | Path) -> pd.DataFrame:
    """Return the obs of an .h5ad or .zarr, which needs nothing else.

    Raises
    ------
    CountsError
        When it is missing, cut, or has no obs.
    """
    group, close = _open_group(url)
    try:
        if "obs" not in group:
            raise CountsError(f"{url} has no obs, so it is no AnnData; give one with a table obs.")
        table = _table(group, "obs", str(url))
    finally:
        close()
    return table.set_axis(pd.Index(table.index.astype(str), dtype=object), axis=0)


def open_anndata(url: str | Path, *, name: str) -> AnnDataMatrix:
    """Open X of an .h5ad or .zarr that is stored by cells.

    Raises
    ------
    CountsError
        When it cannot be opened.
    """
    group, close = _open_group(url)
    try:
        return AnnDataMatrix(group, name=name, close=close)
    except BaseException:
        close()
        raise


class AnnDataMatrix:
    """X of an AnnData group, CSR or dense, by runs of cells."""

    def __init__(self, group: Any, *, name: str, close: Callable[[], None]) -> None:
        self.close = close
        self._name = name
        with readable(name, what="an X"):
            x = group["X"]
            (self.n_cells, self.n_features), layout = _shape_and_layout(x)
            self._rows = _DenseRows(x) if layout == "dense" else anndata.io.sparse_dataset(x)

    def read(self, start: int, stop: int) -> Any:
        """Return rows [start, stop), scipy sparse."""
        with readable(self._name, what=f"counts of cells {start}-{stop}"):
            return self._rows[start:stop]


def _check_parts(group: Any, name: str) -> None:
    missing = [part for part in ("X", "obs", "var") if part not in group]
    if missing:
        raise CountsError(
            f"{name} has no {', '.join(missing)}, so it is not an AnnData with counts; give one "
            "with raw counts in X (cells x peaks)."
        )


def _check_shape(name: str, shape: tuple[int, ...], *, n_cells: int, n_features: int) -> None:
    if shape != (n_cells, n_features):
        raise CountsError(
            f"{name} has X of shape {shape} but {n_cells:,} rows in obs and {n_features:,} in var; "
            "write it again with anndata."
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


def _shape_and_layout(x: Any) -> tuple[tuple[int, ...], str]:
    """Return the shape of X and whether it is ``dense``, ``csr`` or ``csc``."""
    if hasattr(x, "shape"):
        return tuple(int(size) for size in x.shape), "dense"
    backed = anndata.io.sparse_dataset(x)
    return tuple(int(size) for size in backed.shape), str(backed.format)


class _DenseRows:
    """Rows of a dense array, made sparse in pieces of at most `_DENSE_BYTES`."""

    def __init__(self, x: Any) -> None:
        self._x = x
        row_bytes = x.shape[1] * x.dtype.itemsize
        self._step = max(1, _DENSE_BYTES // max(1, row_bytes))

    def __getitem__(self, wanted: slice) -> csr_array:
        parts = [
            csr_array(self._x[first : min(first + self._step, wanted.stop)])
            for first in range(wanted.start, wanted.stop, self._step)
        ]
        return csr_array(vstack(parts, format="csr")) if parts else self._none()

    def _none(self) -> csr_array:
        return csr_array((0, self._x.shape[1]), dtype=self._x.dtype)
