"""AnnData inputs: .h5ad files and .zarr stores (v2 or v3), backed: X is never read whole.

X is cells x peaks as CSR, CSC or dense. CSR and dense are read by runs of cells. CSC is stored by
peaks, so any run of cells would cost a scan of all of X: it is counted in ranges of peaks into a
cell-major copy (see `atlasstore.inputs.cell_major_copy`). Raw counts must be in X, or in the layer
or ``raw`` that is asked for. Of a MuData (.h5mu) the modality with the peaks is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, vstack

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Notice, Subscriber, ignore
from atlasstore.genome.peaks import has_place_columns, peaks_from_var
from atlasstore.inputs.anndata_file import anndata_group, modality_of, open_group
from atlasstore.inputs.compressed import CompressedMatrix
from atlasstore.inputs.counts import check_unique, without_halves
from atlasstore.inputs.declared import check_inside, refuse_links
from atlasstore.inputs.hdf5 import readable
from atlasstore.inputs.source import Description
from atlasstore.inputs.tenx_features import peak_rows
from atlasstore.zarrio.tidy import with_legal_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt
    from numpy.typing import NDArray

    Ints = npt.NDArray[np.int64]

__all__ = [
    "AnnDataMatrix",
    "counts_of",
    "describe_anndata",
    "open_anndata",
    "read_obs",
    "read_obsm",
    "read_table_of",
    "shape_and_layout",
]

_DENSE_BYTES = 1 << 28


def describe_anndata(
    url: str | Path, *, matrix: str = "X", on_event: Subscriber = ignore
) -> Description:
    """Read the tables of an .h5ad, .h5mu or .zarr.

    Parameters
    ----------
    url
        Path or URL; zarr format 2 or 3.
    matrix
        Where the counts are: ``X``, ``layers/NAME`` or ``raw/X``.
    on_event
        Hears how many features that are not peaks were left out, and which names were changed.

    Raises
    ------
    CountsError, PeaksError
        When it is missing, cut, not AnnData, or its obs, var or counts cannot be used.
    """
    name = str(url)
    with anndata_group(url, name=name) as group:
        stored = counts_of(group, matrix, name=name)
        obs = read_table_of(group, "obs", name, on_event)
        obs.index = check_unique(obs.index, name=name)
        var = read_table_of(group, "raw/var" if matrix == "raw/X" else "var", name, on_event)
        with readable(name, what=f"counts in {matrix}"):
            shape, layout = shape_and_layout(stored)
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
    group, close = open_group(url)
    try:
        with readable(str(url), what="a root group"):
            if "obs" not in group:
                raise CountsError(f"{url} has no obs and is no AnnData; give one with a table obs.")
        table = read_table_of(group, "obs", str(url), ignore)
    finally:
        close()
    return table.set_axis(pd.Index(table.index.astype(str), dtype=object), axis=0)


def read_obsm(url: str | Path, *, most_dims: int | None = None) -> dict[str, NDArray[Any]]:
    """Return the dense arrays in the obsm of an .h5ad or .zarr, rows in the order of its obs.

    Parameters
    ----------
    most_dims
        Arrays with more columns are not read.

    Raises
    ------
    CountsError
        When it is missing or cut.
    """
    group, close = open_group(url)
    try:
        with readable(str(url), what="obsm"):
            refuse_links(group, name=str(url))
            if "obsm" not in group:
                return {}
            refuse_links(group["obsm"], name=str(url))
            stored = {key: group["obsm"][key] for key in group["obsm"]}
            found = {
                key: array
                for key, array in stored.items()
                if len(getattr(array, "shape", ())) == 2
                and (most_dims is None or array.shape[1] <= most_dims)
            }
            for array in found.values():
                check_inside(array, name=str(url))
            return {key: array[:] for key, array in found.items()}
    finally:
        close()


def open_anndata(url: str | Path, *, name: str, matrix: str = "X") -> AnnDataMatrix:
    """Open the counts of an AnnData that is stored by cells.

    Raises
    ------
    CountsError
        When they cannot be opened.
    """
    group, close = open_group(url)
    try:
        stored = counts_of(modality_of(group, name), matrix, name=name)
        return AnnDataMatrix(stored, name=name, close=close)
    except BaseException:
        close()
        raise


def counts_of(group: Any, matrix: str, *, name: str) -> Any:
    """Return the group or array of an AnnData that holds the counts.

    Raises
    ------
    CountsError
        When it is not there; it says which layers are.
    """
    with readable(name, what="its parts"):
        folder, _, _ = matrix.rpartition("/")
        refuse_links(group[folder] if folder and folder in group else group, name=name)
        if matrix in group:
            return group[matrix]
        layers = ", ".join(group["layers"]) if "layers" in group else ""
    raise CountsError(
        f"{name} has no counts in {matrix}: it has {'X, ' if 'X' in group else ''}"
        f"{f'the layers {layers}' if layers else 'no layers'} and "
        f"{'raw' if 'raw/X' in group else 'no raw'}; name a layer (--layer NAME), use raw "
        "(--use-raw), or give an AnnData with counts in X."
    )


class AnnDataMatrix:
    """Counts of an AnnData, CSR or dense, by runs of cells."""

    def __init__(self, stored: Any, *, name: str, close: Callable[[], None]) -> None:
        self.close = close
        self._name = name
        with readable(name, what="counts"):
            (self.n_cells, self.n_features), layout = shape_and_layout(stored)
        shape = (self.n_cells, self.n_features)
        self._rows: _DenseRows | CompressedMatrix
        if layout == "dense":
            self._rows = _DenseRows(stored, name)
        else:
            self._rows = CompressedMatrix(stored, shape, name=name)

    def read(self, start: int, stop: int) -> Any:
        """Return rows [start, stop), scipy sparse."""
        with readable(self._name, what=f"counts of cells {start}-{stop}"):
            return self._rows.read(start, stop)


def _check_shape(name: str, shape: tuple[int, ...], *, n_cells: int, n_features: int) -> None:
    if shape != (n_cells, n_features):
        raise CountsError(
            f"{name} has counts of shape {shape} but {n_cells:,} rows in obs and {n_features:,} in "
            "var; write it again with anndata."
        )


def read_table_of(group: Any, part: str, name: str, on_event: Subscriber) -> pd.DataFrame:
    """Return obs or var, its columns under names that can be stored, each once.

    Raises
    ------
    CountsError
        When it is damaged or no table.
    """
    import anndata  # takes a second

    with readable(name, what="an obs table" if part == "obs" else "a var table"):
        refuse_links(group, name=name)
        check_inside(group[part], name=name)
        _check_columns(group[part], name=name)
        table = anndata.io.read_elem(group[part])
    if not isinstance(table, pd.DataFrame):
        raise CountsError(f"{name} has {part} of an unknown kind; write it again with anndata.")
    table, changes = with_legal_names(table)
    for sentence in changes:
        on_event(Notice(f"{name}, {part}: {sentence}"))
    return table


def _check_columns(table: Any, *, name: str) -> None:
    """Refuse what pandas cannot hold, or of which it makes tuples."""
    for key in getattr(table, "keys", list)():
        shape, dtype = (getattr(table[key], about, None) for about in ("shape", "dtype"))
        where = f"{name}: column {key} of {str(table.name).strip('/')}"
        if shape is not None and len(shape) != 1:
            raise CountsError(
                f"{where} has shape {shape}, where one value per row is needed; write it again "
                "with anndata."
            )
        if dtype is not None and dtype.kind == "V":
            raise CountsError(
                f"{where} is of type {dtype}, which is neither numbers nor text; remove it or "
                "write it again with anndata."
            )


def _kept_columns(var: pd.DataFrame, name: str, on_event: Subscriber) -> Ints | None:
    if "feature_types" not in var:
        return None
    types = var["feature_types"].astype(str).to_numpy(dtype=object)
    names = var.index.astype(str).to_numpy(dtype=object)
    return peak_rows(
        types, names=names, has_places=has_place_columns(var), name=name, on_event=on_event
    )


def _peaks(var: pd.DataFrame, name: str) -> pd.DataFrame:
    try:
        return peaks_from_var(var)
    except PeaksError as error:
        raise PeaksError(f"{name}: {error}") from error


def shape_and_layout(x: Any) -> tuple[tuple[int, int], str]:
    """Return the shape of stored counts and whether they are ``dense``, ``csr`` or ``csc``.

    Raises
    ------
    ValueError
        When they are of another kind.
    """
    if hasattr(x, "dtype"):
        shape, layout = x.shape, "dense"
    else:
        kind = str(x.attrs.get("encoding-type", x.attrs.get("h5sparse_format", "")))
        layout = kind.removesuffix("_matrix")
        shape = x.attrs["shape"] if "shape" in x.attrs else x.attrs["h5sparse_shape"]
    if len(shape) != 2 or layout not in ("dense", "csr", "csc"):
        raise ValueError(f"counts are {layout or 'of no kind'}, shape {tuple(shape)}")
    return (int(shape[0]), int(shape[1])), layout


class _DenseRows:
    """Rows of a dense array, made sparse in pieces of at most `_DENSE_BYTES`."""

    def __init__(self, x: Any, name: str) -> None:
        check_inside(x, name=name, whole=False)
        if x.dtype.kind not in "biuf":
            raise CountsError(f"{name} has counts of the kind {x.dtype}; give numbers.")
        self._x = x
        row_bytes = x.shape[1] * x.dtype.itemsize
        self._step = max(1, _DENSE_BYTES // max(1, row_bytes))

    def read(self, start: int, stop: int) -> csr_array:
        parts = [
            csr_array(without_halves(self._x[first : min(first + self._step, stop)]))
            for first in range(start, stop, self._step)
        ]
        return csr_array(vstack(parts, format="csr")) if parts else self._none()

    def _none(self) -> csr_array:
        return csr_array((0, self._x.shape[1]), dtype=np.int32)
