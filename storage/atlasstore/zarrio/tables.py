"""Tables inside our stores, in anndata's own encoding, and the last act of writing a store.

Everything goes through anndata's element writers and readers, so that anndata alone opens `obs`
and `var`; only the codecs are ours (see `arrays`). anndata itself takes more than a second to
import, so it is imported where it is used.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd
import zarr
from zarr.errors import ZarrUserWarning

from atlasstore.errors import CorruptStoreError
from atlasstore.zarrio import arrays, formats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import Store

__all__ = ["check_table", "finish", "read_table", "tidy", "write_element", "write_table"]


def write_element(group: zarr.Group, name: str, value: object) -> None:
    """Write any element anndata knows (array, sparse matrix, table, mapping) with our codecs."""
    import anndata

    with (
        anndata.settings.override(auto_shard_zarr_v3=False),
        zarr.config.set({"array.write_empty_chunks": True}),  # anndata opens arrays again
    ):
        options = {"compressors": arrays.compressors()}
        anndata.io.write_elem(group, name, value, dataset_kwargs=options)


def write_table(group: zarr.Group, name: str, table: pd.DataFrame) -> None:
    """Write a table that anndata reads; columns it cannot hold are made into ones it can."""
    write_element(group, name, tidy(table))


def read_table(group: zarr.Group, name: str, *, url: str) -> pd.DataFrame:
    """Return the table `name`.

    Raises
    ------
    CorruptStoreError
        When it is absent or its bytes cannot be decoded.
    """
    import anndata

    try:
        table: pd.DataFrame = anndata.io.read_elem(group[name])
    except (ValueError, RuntimeError, OSError, KeyError) as error:
        raise CorruptStoreError(
            f"{url}: table {name} cannot be read ({error}); the store is damaged: make it again or "
            "copy it again."
        ) from error
    return table


def check_table(group: zarr.Group, name: str, *, url: str) -> None:
    """Raise CorruptStoreError unless every array of the table `name` is stored whole."""
    for _, member in group[name].members(max_depth=None):
        if isinstance(member, zarr.Array) and member.ndim:
            arrays.check_chunks(member, url=url)


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with text index and object columns turned into typed ones.

    Text, also pandas' strings, becomes a category; booleans and integers with missing values
    become pandas' nullable types; a column of mixed kinds becomes its text.
    """
    typed = table.copy(deep=False)
    typed.index = pd.Index(table.index.astype(str), dtype=object, name=table.index.name)
    for name in typed.columns:
        typed[name] = _typed(typed[name])
    typed.columns = typed.columns.astype(str)
    return typed


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype == "string":
        return column.cat.rename_categories(list(dtype.categories))
    if isinstance(dtype, pd.StringDtype):  # anndata's readers and writers differ by version
        return column.astype(object).astype("category")
    return _from_objects(column) if pd.api.types.is_object_dtype(dtype) else column


def _from_objects(column: pd.Series[Any]) -> pd.Series[Any]:
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("boolean", "integer", "floating"):
        return column.convert_dtypes()
    if kind != "string":
        column = column.astype(str).where(column.notna())
    return column.astype("category")


def finish(store: Store, format_name: str, provenance: Mapping[str, Any]) -> None:
    """Consolidate the metadata of everything written, then stamp the store as finished.

    The stamp comes last; it rewrites the root's metadata with the consolidated metadata in it.
    """
    with warnings.catch_warnings():
        # Consolidated metadata is what anndata writes too; readers without it lose only time.
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        group = zarr.consolidate_metadata(store)
    formats.stamp(group, format_name, formats.WRITTEN[format_name], provenance)
