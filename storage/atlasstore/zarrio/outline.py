"""What a table says without being read: the names of its columns, and single columns of it.

`tables.read_table` has anndata read the whole table, and anndata and pandas take 1.5 s to import:
too long for a look at a store, which needs names and a column or two. A table's digest is of all
its values, so it is not compared here; damaged bytes and lost pieces are errors as they are there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.zarrio import arrays, tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    import zarr
    from numpy.typing import NDArray

__all__ = ["column_names", "count_values", "read_columns", "read_text"]

_PLAIN = ("array", "string-array")


def column_names(group: zarr.Group, table: str, *, url: str) -> list[str]:
    """Return the names of a table's columns as a reader sees them, in their order.

    Raises
    ------
    CorruptStoreError
        When the table is absent or its metadata is damaged.
    """
    return list(_stored_names(group, table, url=url))


def read_columns(group: zarr.Group, table: str, *names: str, url: str) -> dict[str, NDArray[Any]]:
    """Return columns of a table by their names: numbers as stored, all else as objects.

    Parameters
    ----------
    group, table
        The table's place in a store.
    names
        Of the columns, as a reader sees them.
    url
        The store.

    Raises
    ------
    CorruptStoreError
        When one is absent, a part of it is not stored, or its bytes cannot be decoded.
    """
    stored = _stored_names(group, table, url=url)
    return {name: _values(group, table, name, stored, url=url) for name in names}


def count_values(group: zarr.Group, table: str, name: str, *, url: str) -> dict[str, int]:
    """Return how often each value of a column is there; of a category also those that are not.

    Categories come in their order, other values in that in which they first are.

    Raises
    ------
    CorruptStoreError
        As `read_columns`.
    """
    stored = _stored_names(group, table, url=url)
    values = _values(group, table, name, stored, url=url)
    column: Any = group[f"{table}/{stored[name]}"]
    known = _plain(column["categories"], url=url).tolist() if _is_category(column) else []
    found = Counter(value for value in values.tolist() if value is not None)
    return {str(value): found[value] for value in dict.fromkeys([*known, *found])}


def read_text(group: zarr.Group, name: str, *, url: str) -> str | None:
    """Return a text that `tables.write_element` wrote, or a mapping with it; None for none."""
    if name not in group:
        return None
    with tables.readable(name, url=url):
        element: Any = group[name]
        tables.check_element(element, url=url)
        return str(element[()])


def _stored_names(group: zarr.Group, table: str, *, url: str) -> dict[str, str]:
    """Return the shown names of a table's columns -> those that they are stored by."""
    with tables.readable(table, url=url):
        attrs: Any = group[table].attrs
        shown = dict(attrs.get(tables.SHOWN, {}))
        return {str(shown.get(name, name)): str(name) for name in attrs["column-order"]}


def _values(
    group: zarr.Group, table: str, name: str, stored: Mapping[str, str], *, url: str
) -> NDArray[Any]:
    with tables.readable(f"{table}/{name}", url=url):
        column: Any = group[f"{table}/{stored[name]}"]
        encoding = column.attrs.get("encoding-type")
    if _is_category(column):
        codes, categories = (_plain(column[part], url=url) for part in ("codes", "categories"))
        with tables.readable(f"{table}/{name}", url=url):
            if codes.min(initial=-1) < -1:
                raise ValueError(f"a code of {codes.min()}, where -1 is a missing value")
            found = np.array([*categories.tolist(), None], object)[codes]  # -1 is missing
        return np.asarray(found)
    if encoding in _PLAIN:
        return _plain(column, url=url)
    # with a mask of missing values: nothing that we look at has one
    return tables.read_table(group, table, url=url)[name].to_numpy(object)


def _is_category(column: Any) -> bool:
    return bool(column.attrs.get("encoding-type") == "categorical")


def _plain(array: Any, *, url: str) -> NDArray[Any]:
    arrays.check_chunks(array, url=url)
    values = arrays.read_array(array, 0, array.shape[0], url=url)
    return values if values.dtype.kind in "biuf" else values.astype(object)
