"""A result as AnnData whose large tables are read or computed block by block, when asked for.

A factored result stores no X: a block of it is one small product of cells' and peaks' factors
(docs/method.md, "Denoising"). A range of cells or peaks is cut out of the factors first, so that
only what is asked for is multiplied. Dask has no such shortcut to scattered cells or peaks, and
computes each block that holds one of them: there `predicted` is the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from atlasstore import memory
from atlasstore.errors import TooLittleMemoryError, UserInputError
from atlasstore.files import urls
from atlasstore.results._lazy_tables import PredictedTable, StoredTable, Table
from atlasstore.results.factors import factor_names, on_scale
from atlasstore.zarrio import arrays
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT, SEQUENCE

if TYPE_CHECKING:
    import anndata
    from numpy.typing import NDArray

    from atlasstore.results.reader import ResultReader

__all__ = ["predicted", "result_anndata"]

_PARTS = ("obsm", "varm", "layers")
_STANDARDISED = ("tf_activity",)


def result_anndata(result: ResultReader, *, lazy: bool) -> anndata.AnnData:
    """Return a result as AnnData; where no X is stored, X is predicted from the factors.

    Parameters
    ----------
    result
        A finished result of any kind.
    lazy
        X, layers, obsm and varm are dask arrays, read or computed when asked for; obs, var and uns
        are read at once. Otherwise everything is in memory.

    Raises
    ------
    TooLittleMemoryError
        When not `lazy` and the tables are larger than the memory that is free.
    """
    import anndata

    group = urls.open_group(result.url)
    tables = {part: _stored(result, group, part) for part in _PARTS}
    x = _x(result, group)
    if not lazy:
        parts = [table for found in tables.values() for table in found.values()]
        _check_memory(result.url, [*parts, *([] if x is None else [x])])
    take = _dask if lazy else _whole
    return anndata.AnnData(
        X=None if x is None else take(x),
        obs=result.obs.copy(),
        var=result.var.copy(),
        uns={"scbasset": dict(result.about)},
        **{part: {name: take(t) for name, t in found.items()} for part, found in tables.items()},
    )


def predicted(adata: anndata.AnnData) -> NDArray[np.float32]:
    """Predict the X of a factored result, or of any part of one, from the factors it carries.

    The way to scattered cells and peaks: ``predicted(adata[is_t_cell, marker_peaks])`` multiplies
    the factors of those alone, whether `adata` was opened lazily or not, by us or by anndata.

    Returns
    -------
    numpy.ndarray
        float32, the shape of `adata`, on the scale that ``uns["scbasset"]`` says.

    Examples
    --------
    >>> result = anndata.experimental.read_lazy("denoised.zarr")  # doctest: +SKIP
    >>> predicted(result[:100, ["chr1:100-400"]])  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When `adata` carries no factors, or its X is more than their product.
    """
    names = factor_names(adata.obsm, adata.varm)
    about = adata.uns.get("scbasset", {})
    if names is None or about.get("kind") in _STANDARDISED:
        raise UserInputError(
            f"X cannot be predicted here: obsm and varm must hold {EMBEDDING} and {SEQUENCE}, and "
            "X must be their product (z-scores are not); give a factored result or a part of one."
        )
    scale = str(about.get("scale", "linear"))
    intercept = adata.obs[INTERCEPT].to_numpy() if scale == "probability" else None
    left, right = np.asarray(adata.obsm[names[0]]), np.asarray(adata.varm[names[1]])
    return on_scale(scale, left, right, intercept)


def _stored(result: ResultReader, group: zarr.Group, part: str) -> dict[str, Table]:
    tables = group.get(part)
    if not isinstance(tables, zarr.Group):
        return {}
    return {
        name: StoredTable.of(result.url, array, f"{part}/{name}", result.stamp)
        for name, array in tables.arrays()
    }


def _names(group: zarr.Group, part: str) -> set[str]:
    tables = group.get(part)
    return set(tables) if isinstance(tables, zarr.Group) else set()


def _x(result: ResultReader, group: zarr.Group) -> Table | None:
    """Return the table X of a result, stored or predicted; None where it has neither."""
    if "X" in group:
        return StoredTable.of(
            result.url, arrays.member(group, "X", url=result.url), "X", result.stamp
        )
    names = factor_names(*(_names(group, part) for part in _PARTS[:2]))
    if names is None or result.kind in _STANDARDISED:
        return None
    scale = str(result.about.get("scale", "linear"))
    shape = tuple(
        arrays.member(group, f"{part}/{name}", url=result.url).shape[0]
        for part, name in zip(_PARTS, names, strict=False)
    )
    float32 = np.dtype(np.float32)
    return PredictedTable(result.url, shape, float32, names, scale, result.stamp)


def _dask(table: Table) -> Any:
    import dask.array

    return dask.array.from_array(
        table,
        chunks=table.block,
        name=False,  # a name of its own: no reading to find one
        asarray=False,
        meta=np.empty((0,) * table.ndim, table.dtype),
    )


def _whole(table: Table) -> NDArray[Any]:
    return table[(slice(None),) * table.ndim]


def _check_memory(url: str, tables: list[Table]) -> None:
    needed, free = sum(table.n_bytes for table in tables), memory.free_bytes()
    if needed > free:
        raise TooLittleMemoryError(
            f"the tables of {url} take {needed / 1e9:,.1f} GB in memory, and {free / 1e9:,.1f} GB "
            "are free; open it with lazy=True, then choose cells and peaks."
        )
