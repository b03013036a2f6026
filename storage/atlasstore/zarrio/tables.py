"""Tables inside our stores, in anndata's own encoding, and the last act of writing a store.

Everything goes through anndata's element writers and readers, so that anndata alone opens `obs`
and `var`; only the codecs are ours (see `arrays`). anndata takes more than a second to
import and pandas a third of one, so they are imported where they are used.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import zarr
from zarr.errors import ZarrUserWarning

from atlasstore.errors import AtlasError, CorruptStoreError, UserInputError
from atlasstore.files import remote
from atlasstore.zarrio import arrays, formats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    from zarr.abc.store import Store

__all__ = [
    "SHOWN",
    "check_element",
    "check_writable",
    "finish",
    "read_element",
    "read_table",
    "readable",
    "write_element",
    "write_table",
]

SHOWN = "column-names"
"""Attribute of a table: stored name -> name, see `tidy.Tidy`."""
_DIGEST = "digest"
"""Attribute of a table: see `table_digest`; a table that somebody else has written has none."""
_TRIED_ROWS = 1000


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
    """Write a table that anndata reads, made writable by `tidy`, and read it back.

    Raises
    ------
    CorruptStoreError
        When what is read is not what was written.
    """
    from atlasstore.zarrio.table_digest import table_digest
    from atlasstore.zarrio.tidy import tidy

    made = tidy(table)
    write_element(group, name, made.table)
    if made.shown:
        group[name].attrs[SHOWN] = made.shown
    url = str(group.store_path)
    with readable(name, url=url):
        found = _decoded(group[name])  # of the store it is written to, which may hold it back
    if not found.equals(made.named) or list(found.columns) != list(made.named.columns):
        raise CorruptStoreError(
            f"{url}: table {name} is not what was written when it is read back; see whether the "
            "disk is sound, and report the input if it is."
        )
    group[name].attrs[_DIGEST] = table_digest(found)


def check_writable(table: pd.DataFrame) -> tuple[str, ...]:
    """Write the first rows of `table` in memory; return what is changed of its names.

    Kinds of columns do not depend on the rows after `tidy`, so a table that passes is stored whole.

    Raises
    ------
    UserInputError
        When it cannot be stored; the sentence names the column.
    """
    from atlasstore.zarrio.tidy import tidy

    made = tidy(table)
    for name in made.table.columns:
        try:
            write_table(_in_memory(), "table", made.table[[name]].iloc[:_TRIED_ROWS])
        except (ValueError, TypeError, AttributeError, RuntimeError, CorruptStoreError) as error:
            raise UserInputError(
                f"The column {name!r} ({made.table[name].dtype}) cannot be stored ({error}); leave "
                "it out, or make it text."
            ) from error
    return made.notices


def _in_memory() -> zarr.Group:
    return zarr.create_group(zarr.storage.MemoryStore(), zarr_format=3)


def read_table(group: zarr.Group, name: str, *, url: str) -> pd.DataFrame:
    """Return the table `name`.

    Raises
    ------
    CorruptStoreError
        When it is absent, a part of it is not stored, its bytes cannot be decoded, or its values
        are not those that were written.
    """
    import pandas as pd

    from atlasstore.zarrio.table_digest import table_digest

    found = read_element(group, name, url=url)
    if not isinstance(found, pd.DataFrame):
        raise _unreadable(url, name, f"it is a {type(found).__name__}, not a table")
    if group[name].attrs.get(_DIGEST, digest := table_digest(found)) != digest:
        raise _unreadable(url, name, "its values are not those that were written")
    return found


def read_element(group: zarr.Group, name: str, *, url: str) -> Any:
    """Return any element that anndata knows; every piece of it must be stored.

    anndata reads a piece that is lost as zeros or empty text.

    Raises
    ------
    CorruptStoreError
        When it is absent, a part of it is not stored, or its bytes cannot be decoded.
    """
    with readable(name, url=url):
        element = group[name]
        for array in check_element(element, url=url):
            arrays.check_memory(array, array.shape[0] if array.ndim else 1, url=url)
        return _decoded(element)


@contextmanager
def readable(name: str, *, url: str) -> Iterator[None]:
    """Turn whatever is raised of damaged bytes into a CorruptStoreError."""
    try:
        with remote.outage_errors(url):
            yield
    except AtlasError:
        raise
    except Exception as error:  # anndata wraps what zarr raises in errors of its own
        raise _unreadable(url, name, repr(error)) from error


def _decoded(element: zarr.Group | zarr.Array[Any]) -> Any:
    """Return an element, a table with the names that it was given; lost pieces are not noticed."""
    import anndata
    import pandas as pd

    found = anndata.io.read_elem(element)
    is_table = isinstance(found, pd.DataFrame)
    shown: Any = element.attrs.get(SHOWN, {})
    return found.rename(columns=dict(shown)) if is_table else found


def check_element(element: zarr.Group | zarr.Array[Any], *, url: str) -> list[zarr.Array[Any]]:
    """Raise CorruptStoreError unless every array of an element is stored whole; return them."""
    if isinstance(element, zarr.Group):
        return arrays.check_group(element, url=url)
    arrays.check_chunks(element, url=url)
    return [element]


def _unreadable(url: str, name: str, why: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"{url}: {name} cannot be read ({why}); the store is damaged: make it again or copy it "
        "again."
    )


def finish(store: Store, format_name: str, provenance: Mapping[str, Any]) -> None:
    """Consolidate the metadata of everything written, then stamp the store as finished.

    The stamp comes last; it rewrites the root's metadata with the consolidated metadata in it.
    """
    with warnings.catch_warnings():
        # Consolidated metadata is what anndata writes too; readers without it lose only time.
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        with readable("its metadata", url=str(store)):  # of a job that goes on, maybe of long ago
            group = zarr.consolidate_metadata(store)
            _check_consolidated(group)
    formats.stamp(group, format_name, formats.WRITTEN[format_name], provenance)


def _check_consolidated(group: zarr.Group) -> None:
    """Raise CorruptStoreError unless every table is there with all its columns for a reader."""
    for name, member in group.groups():
        if member.attrs.get("encoding-type") != "dataframe":
            continue
        columns: Any = member.attrs["column-order"]
        lacking = [c for c in columns if c not in member]
        if lacking:
            raise CorruptStoreError(
                f"{group.store_path}: table {name} has lost its column {lacking[0]!r} on the way "
                "to the store; see whether the disk is sound."
            )
