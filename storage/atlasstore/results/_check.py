"""Reading the tables of a result so that damage is an error that names the shard, never a number.

A damaged chunk fails its crc32c. A missing shard, which reads as the fill value (NaN, or 0 for
integers), and an intact shard in the wrong place are found by `check_result` from the checksums
that were recorded when the shards were written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from atlasstore.errors import AtlasError, CorruptStoreError
from atlasstore.events import Progress
from atlasstore.files import remote, urls
from atlasstore.results.writer import CHECKSUMS
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from atlasstore.events import Subscriber

__all__ = ["check_result", "read_rows", "root_stamp", "tables_of"]

_TELLS = ("size", "ino", "mtime", "ETag", "etag", "LastModified", "created")
"""What the backends tell of a file that another one has not."""
_REMEDY = "the store is damaged: make it again or copy it again."


def root_stamp(url: str) -> str:
    """Return what tells a result's root from one that takes its place; "" where there is none."""
    fs, path = urls.filesystem(urls.join(url, ROOT))
    fs.invalidate_cache(path)
    try:
        with remote.outage_errors(url):
            found = fs.info(path)
    except FileNotFoundError:
        return ""
    return json.dumps([str(found.get(key)) for key in _TELLS])


def read_rows(
    array: zarr.Array[Any], start: int, stop: int, *, url: str, stamp: str = ""
) -> NDArray[Any]:
    """Return rows [start, stop) of a table, shard by shard.

    Parameters
    ----------
    array
        The table.
    start, stop
        Its rows.
    url
        The result's.
    stamp
        `root_stamp` when the result was opened; "" where that is not to be compared.

    Raises
    ------
    CorruptStoreError
        When a shard is lost or damaged; the message names it.
    AtlasError
        When the result was replaced since it was opened: its values and those of another one
        never come together.
    """
    try:
        found = _read_shards(array, start, stop, url)
    except CorruptStoreError:
        _check_same(url, stamp)
        raise
    _check_same(url, stamp)
    return found


def _check_same(url: str, stamp: str) -> None:
    """Raise unless the root is the one that was opened: it is deleted first and written last."""
    if stamp and root_stamp(url) != stamp:
        raise AtlasError(
            f"{url} was replaced or deleted after it was opened; open it again, and give a new "
            "version a name of its own."
        )


def _read_shards(array: zarr.Array[Any], start: int, stop: int, url: str) -> NDArray[Any]:
    size = _shard_rows(array)
    found = np.empty((stop - start, *array.shape[1:]), array.dtype)
    for first, last in _cut(start, stop, size):
        found[first - start : last - start] = _read_one(array, first, last, url)
    return found


def _cut(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield [start, stop) cut where shards of `size` rows begin."""
    while start < stop:
        end = min(stop, (start // size + 1) * size)
        yield start, end
        start = end


def _read_one(array: zarr.Array[Any], start: int, stop: int, url: str) -> NDArray[Any]:
    """Read rows of one shard."""
    try:
        found = arrays.read_array(array, start, stop, url=url)
    except CorruptStoreError as error:
        raise CorruptStoreError(
            f"{url}: shard {arrays.row_piece(array, start)} (array {array.path}, rows {start} to "
            f"{stop}) cannot be read ({error.__cause__}); {_REMEDY}"
        ) from error
    if _is_fill(found, array) and not _is_stored(array, start, url):
        raise CorruptStoreError(
            f"{url}: shard {arrays.row_piece(array, start)} (array {array.path}, rows {start} to "
            f"{stop}) is absent; {_REMEDY}"
        )
    return found


def _is_fill(values: NDArray[Any], array: zarr.Array[Any]) -> bool:
    """Whether a shard reads as if it were not there."""
    if values.dtype.kind not in "fiub":
        return False
    fill = array.fill_value
    return bool(np.isnan(values).all() if fill != fill else (values == fill).all())


def _is_stored(array: zarr.Array[Any], start: int, url: str) -> bool:
    return urls.stored_bytes(urls.join(url, arrays.row_piece(array, start))) > 0


def _shard_rows(array: zarr.Array[Any]) -> int:
    return int((array.shards or array.chunks)[0])


def check_result(
    group: zarr.Group,
    n_rows: Mapping[str, int],
    checksums: Mapping[str, NDArray[np.uint32]],
    *,
    url: str,
    on_event: Subscriber,
) -> None:
    """Read every table of a result.

    Parameters
    ----------
    group
        The result's.
    n_rows
        "obs" and "var" -> their rows, which the tables must have.
    checksums
        Table, its slashes as dots -> CRC-32 of each shard's values.
    url
        The result's.
    on_event
        Called with each `Progress`.

    Raises
    ------
    CorruptStoreError
        When a shard is lost, damaged or not what was written; the message names it.
    """
    tables = tables_of(group)
    total, done = sum(table.shape[0] for table in tables), 0
    for table in tables:
        expected = n_rows["var" if table.path.startswith(("varm/", "varp/")) else "obs"]
        if table.shape[0] != expected:
            raise CorruptStoreError(
                f"{url}: array {table.path} has {table.shape[0]} rows where {expected} are "
                f"expected; {_REMEDY}"
            )
        shards = list(runs(table.shape[0], _shard_rows(table)))
        for (start, stop), expected_sum in zip(
            shards, _recorded(table, checksums, len(shards), url), strict=True
        ):
            values = read_rows(table, start, stop, url=url)
            _compare(values, expected_sum, table, start, url)
            done += stop - start
            on_event(Progress("checking tables", done, total, "rows"))


def tables_of(group: zarr.Group) -> list[zarr.Array[Any]]:
    """Return the arrays of a result that have a row for each row of obs or var."""
    members = dict(group.members(max_depth=None))
    return [
        member
        for name, member in sorted(members.items())
        if isinstance(member, zarr.Array)
        and member.ndim
        and (name == "X" or name.startswith(("obsm/", "varm/", "layers/")))
        and name.count("/") <= 1
    ]


def _recorded(
    table: zarr.Array[Any], of_shards: Mapping[str, NDArray[np.uint32]], n_shards: int, url: str
) -> list[int | None]:
    """Return each shard's checksum: a table that was written whole has its own."""
    found = of_shards.get(table.path.replace("/", "."))
    try:
        return arrays.recorded_checksums(
            table.attrs.get(CHECKSUMS) if found is None else found.tolist(), n_shards
        )
    except (ValueError, AttributeError) as error:
        raise CorruptStoreError(f"{url}: array {table.path}: {error}; {_REMEDY}") from error


def _compare(
    values: NDArray[Any], recorded: Any, table: zarr.Array[Any], start: int, url: str
) -> None:
    if recorded is not None and arrays.checksum(values) != recorded:
        shard = arrays.row_piece(table, start)
        raise CorruptStoreError(f"{url}: shard {shard} does not hold what was written; {_REMEDY}")
