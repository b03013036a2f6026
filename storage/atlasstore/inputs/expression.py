"""Expression of genes in cells, as an AnnData or MuData has it: read beside an atlas, not into one.

Tables are read when it is opened, values when they are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.files import urls
from atlasstore.genome.peaks import are_coordinates, has_place_columns
from atlasstore.inputs.anndata_file import anndata_group
from atlasstore.inputs.anndata_input import counts_of, read_table_of
from atlasstore.inputs.declared import check_inside
from atlasstore.inputs.hdf5 import readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Expression", "open_expression"]

_MODALITIES = ("rna", "gex", "gene expression")
"""What genes are called, in lower case: modalities of a MuData, and types of features."""
_PEAKS = ("peaks", "atac", "chromatin accessibility")
_GENES = "Gene Expression"
_TYPES = ("feature_types", "modality")
"""Columns of var that may hold each feature's type; the second may also hold something else."""
_OF_GENES = {
    *("gene", "gene_id", "gene_ids", "gene_name", "gene_names", "gene_symbol", "gene_symbols"),
    *("symbol", "strand", "biotype", "gene_biotype", "gene_type"),
}
"""Columns, in lower case, that genes have and peaks have not."""
_LISTED = 8


@dataclass(frozen=True, eq=False, slots=True)
class Expression:
    """Expression of G genes in N cells."""

    name: str
    """For messages."""
    cells: pd.Index[str]
    """Names of the cells, each once."""
    genes: pd.DataFrame
    """One row per gene, indexed by name."""
    embedding: NDArray[np.float32] | None
    """float32 (N, dim), where one was named."""
    _read: Callable[[], Any]
    _columns: NDArray[np.int64]

    def values(self) -> sparse.csr_array:
        """Read the values, float32 CSR (N, G).

        Raises
        ------
        UserInputError
            When they are NaN or infinite, or cannot be read.
        """
        found = sparse.csr_array(self._read()[:, self._columns]).astype(np.float32)
        if found.shape[0] != len(self.cells):
            raise UserInputError(
                f"{self.name} has {found.shape[0]:,} rows of values for {len(self.cells):,} cells; "
                "write it again with anndata."
            )
        if not np.isfinite(found.data).all():
            raise UserInputError(
                f"{self.name} has NaN or infinite expression; give counts or log-normalised values."
            )
        return found


def open_expression(
    rna: str | Path | anndata.AnnData, *, layer: str | None = None, embedding: str | None = None
) -> Expression:
    """Open the expression of cells.

    Parameters
    ----------
    rna
        An AnnData, or path or URL of an ``.h5ad``, ``.zarr`` or ``.h5mu`` (its modality "rna"),
        cells x genes. Of features of several types (``var["feature_types"]``, as 10x multiome has
        them, or ``var["modality"]``) those of type "Gene Expression" are genes.
    layer
        Layer with the values; X by default.
    embedding
        Key of obsm with an embedding of the cells.

    Raises
    ------
    UserInputError
        When it cannot be read, has no such layer or obsm, has peaks in the place of genes, or names
        a cell twice.
    """
    if isinstance(rna, anndata.AnnData):
        return _in_memory(rna, layer, embedding)
    if not urls.path_end(rna).endswith((".h5ad", ".zarr", ".h5mu")):
        raise UserInputError(
            f"{rna} ends in none of .h5ad, .zarr, .h5mu; give the RNA as an AnnData."
        )
    return _stored(rna, layer, embedding)


def _in_memory(adata: anndata.AnnData, layer: str | None, key: str | None) -> Expression:
    name = "the RNA"
    for what, wanted, there in (("layer", layer, adata.layers), ("obsm", key, adata.obsm)):
        if wanted is not None and wanted not in there:
            named = [each for each in there if each is not None]  # anndata 0.13 lists X as None
            raise _lacks(name, what, wanted, named)
    if layer is None and adata.X is None:
        raise UserInputError(f"{name} has no X; name a layer with the values.")
    found = adata.X if layer is None else adata.layers[layer]
    table = None if key is None else adata.obsm[key]
    return _checked(name, adata.obs, adata.var, table, lambda: _as_csr(found, name))


def _stored(url: str | Path, layer: str | None, key: str | None) -> Expression:
    name = str(url)
    matrix = "X" if layer is None else f"layers/{layer}"
    with anndata_group(url, name=name, modalities=_MODALITIES) as group:
        counts_of(group, matrix, name=name)
        obs, var = (read_table_of(group, part, name, ignore) for part in ("obs", "var"))
        table = None if key is None else _obsm(group, key, name)

    def read() -> sparse.csr_array:
        with anndata_group(url, name=name, modalities=_MODALITIES) as group:
            return _as_csr(_element(counts_of(group, matrix, name=name), name, "values"), name)

    return _checked(name, obs, var, table, read)


def _obsm(group: Any, key: str, name: str) -> Any:
    there = list(group["obsm"]) if "obsm" in group else []
    if key not in there:
        raise _lacks(name, "obsm", key, there)
    return _element(group["obsm"][key], name, f"obsm {key!r}")


def _element(stored: Any, name: str, what: str) -> Any:
    with readable(name, what=what):
        check_inside(stored, name=name)
        return anndata.io.read_elem(stored)


def _as_csr(values: Any, name: str) -> sparse.csr_array:
    with readable(name, what="values"):
        return sparse.csr_array(values)


def _checked(
    name: str, obs: pd.DataFrame, var: pd.DataFrame, table: Any, read: Callable[[], Any]
) -> Expression:
    cells = pd.Index(obs.index.astype(str), dtype=object)
    twice = cells[cells.duplicated()]
    if len(twice):
        raise UserInputError(f"{name} names cell {twice[0]!r} more than once; name each once.")
    columns = _gene_columns(var, name)
    if not columns.size or not len(cells):
        raise UserInputError(
            f"{name} has {len(columns)} genes and {len(cells)} cells; give cells x genes."
        )
    embedding = None if table is None else np.asarray(table, np.float32)
    if embedding is not None and (embedding.ndim != 2 or len(embedding) != len(cells)):
        raise UserInputError(
            f"{name} has an embedding of shape {embedding.shape} for {len(cells):,} cells; name "
            "one with a row for each cell."
        )
    return Expression(name, cells, var.iloc[columns], embedding, read, columns)


def _gene_columns(var: pd.DataFrame, name: str) -> NDArray[np.int64]:
    """Return which features are genes: by their types, where var has these, else all.

    Raises
    ------
    UserInputError
        When none is, or all look like peaks.
    """
    for key in (key for key in _TYPES if key in var):
        types = var[key].astype(str).str.lower()
        are_genes = types.isin(_MODALITIES).to_numpy()
        if are_genes.any():
            return np.flatnonzero(are_genes)
        if key == _TYPES[0] or types.isin(_PEAKS).any():
            listed = ", ".join(map(repr, var[key].astype(str).unique()[:_LISTED]))
            raise UserInputError(
                f"{name} has no genes, its features are {listed} (var {key!r}); give the "
                f"expression of the same cells, genes being {_GENES!r} there."
            )
    if _look_like_peaks(var):
        raise UserInputError(
            f"{name} has peaks, not genes ({var.index[0]}, ...); give the expression of the same "
            f"cells, or, if these are genes, say so by {_GENES!r} in var {_TYPES[0]!r}."
        )
    return np.arange(len(var))


def _look_like_peaks(var: pd.DataFrame) -> bool:
    """Whether most names are coordinates, or rows have a place and nothing that genes have."""
    if not len(var):
        return False
    of_genes = not _OF_GENES.isdisjoint(str(column).lower() for column in var)
    return bool(are_coordinates(var.index).mean() > 0.5) or (
        has_place_columns(var) and not of_genes
    )


def _lacks(name: str, what: str, wanted: str, there: list[str]) -> UserInputError:
    listed = ", ".join(there[:_LISTED]) or "none"
    return UserInputError(f"{name} has no {what} {wanted!r}; it has: {listed}.")
