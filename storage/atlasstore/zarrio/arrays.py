"""How the arrays of every store are made and read.

Codecs are those of the zarr v3 specification; every chain ends in crc32c, so a flipped byte is an
error and never a number. All chunks are written, empty ones too, so that a missing file is
distinguished from zeros. Shard indices are at the start, because some object stores cannot read
suffixes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from atlasstore.errors import CorruptStoreError
from atlasstore.files import remote, urls

__all__ = ["check_chunks", "check_group", "compressors", "create_array", "read_array", "writable"]

_UNREADABLE = (ValueError, RuntimeError, OSError, KeyError)
"""What zarr and its codecs raise on damaged bytes."""
_UNFINISHED = ".partial"
"""End of the name under which zarr writes a file on disk; a killed process leaves it there."""


def compressors(level: int = 5) -> list[Any]:
    """Return the bytes-to-bytes codecs of every array: blosc (zstd, bitshuffle), then crc32c."""
    return [BloscCodec(cname="zstd", clevel=level, shuffle="bitshuffle"), Crc32cCodec()]


def create_array(
    group: zarr.Group,
    name: str,
    *,
    shape: tuple[int, ...],
    dtype: np.dtype[Any] | type,
    chunk_rows: int,
    shard_rows: int | None = None,
    fill_value: float | bool = 0,
    axes: tuple[str, ...],
    compression_level: int = 5,
) -> zarr.Array:
    """Create an array cut along its first axis only.

    Parameters
    ----------
    group, name
        Where; `name` may contain slashes.
    shape, dtype
        Of the array.
    chunk_rows
        Rows in a chunk, the unit of reading.
    shard_rows
        Rows in a shard, the unit of writing and a multiple of `chunk_rows`; unsharded when absent.
    fill_value
        What a missing chunk reads as; choose a value that no valid data holds where there is one
        (NaN for floats).
    axes
        Name of each dimension.
    compression_level
        Of zstd, 1 (fast) to 9.
    """
    rest = shape[1:]
    shards = None
    if shard_rows is not None:
        shards = {"shape": (shard_rows, *rest), "index_location": "start"}
    return group.create_array(
        name,
        shape=shape,
        dtype=np.dtype(dtype),
        chunks=(chunk_rows, *rest),
        shards=shards,
        compressors=compressors(compression_level),
        fill_value=fill_value,
        config={"write_empty_chunks": True},
        # one flat folder of pieces: a folder per piece costs more than the piece to make and delete
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=axes,
    )


def writable(array: zarr.Array) -> zarr.Array:
    """Return a reopened array such that its empty chunks are written too, as `create_array`'s."""
    return array.with_config({"write_empty_chunks": True})


def read_array(array: zarr.Array, start: int, stop: int, *, url: str) -> np.ndarray[Any, Any]:
    """Return rows [start, stop) of `array`.

    Raises
    ------
    CorruptStoreError
        When the stored bytes cannot be decoded or fail their checksum.
    AccessDeniedError
        When they may not be read.
    """
    try:
        with remote.told(url):
            return np.asarray(array[start:stop])
    except _UNREADABLE as error:
        raise CorruptStoreError(
            f"{url}: array {array.path}, rows {start} to {stop}, cannot be read ({error}); the "
            "store is damaged: make it again or copy it again."
        ) from error


def check_chunks(array: zarr.Array, *, url: str) -> None:
    """Raise CorruptStoreError unless every piece (chunk or shard) of `array` is stored.

    A missing piece reads as the fill value, without an error; so does an empty file in the place
    of a shard.

    Parameters
    ----------
    array
        An array of the store at `url`, all of whose pieces were written.
    url
        The store.
    """
    cut = array.shards or array.chunks
    expected = math.prod(-(-size // piece) for size, piece in zip(array.shape, cut, strict=True))
    fs, root = urls.filesystem(urls.join(url, array.path))
    fs.invalidate_cache()
    with remote.told(url):
        files = fs.find(root, detail=True)
    names = [name for name in files if not name.endswith(("zarr.json", _UNFINISHED))]
    found = sum(files[name]["size"] > 0 for name in names)
    if found != expected:
        raise CorruptStoreError(
            f"{url}: array {array.path} has {found} of its {expected} stored pieces; the store is "
            "damaged: make it again or copy it again."
        )


def check_group(group: zarr.Group, *, url: str) -> list[zarr.Array]:
    """Do `check_chunks` for every array of `group`, at any depth but scalars, and return them."""
    members = [member for _, member in group.members(max_depth=None)]
    found = [member for member in members if isinstance(member, zarr.Array) and member.ndim]
    for array in found:
        check_chunks(array, url=url)
    return found
