"""How the arrays of every store are made and read.

Codecs are those of the zarr v3 specification; every chain ends in crc32c, so a flipped byte is an
error and never a number. All chunks are written, empty ones too, so that a missing file is
distinguished from zeros. Shard indices are at the start, because some object stores cannot read
suffixes.
"""

from __future__ import annotations

import itertools
import math
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from atlasstore import memory
from atlasstore.errors import CorruptStoreError, TooLittleMemoryError
from atlasstore.files import remote, urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "UNREADABLE",
    "check_chunks",
    "check_group",
    "check_memory",
    "checksum",
    "compressors",
    "create_array",
    "member",
    "open_member",
    "piece_names",
    "read_array",
    "recorded_checksums",
    "row_piece",
    "stored_files",
    "writable",
    "write_pieces",
]

UNREADABLE = (
    *(ValueError, RuntimeError, OSError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, MemoryError),
)
"""What zarr and its codecs raise on damaged bytes or metadata."""
_UNFINISHED = ".partial"
"""End of the name under which zarr writes a file on disk; a killed process leaves it there."""
_ASKED_AT_ONCE = 16
_SMALL_BYTES = 1 << 30
"""What is read without a look at how much memory is free."""


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
) -> zarr.Array[Any]:
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
    shards: Any = None  # the types of its words differ between versions of zarr
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


def writable(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """Return a reopened array such that its empty chunks are written too, as `create_array`'s."""
    return array.with_config({"write_empty_chunks": True})


def write_pieces(array: zarr.Array[Any], start: int, values: np.ndarray[Any, Any]) -> None:
    """Write rows [start, start + len(values)), which are whole pieces (chunks or shards).

    Several processes may write one array at a time so: each piece is written by one of them. Of a
    piece that two had to read, change and write, one could lose what the other wrote.

    Raises
    ------
    ValueError
        When the rows begin or end within a piece.
    """
    piece, stop = (array.shards or array.chunks)[0], start + len(values)
    if start % piece or (stop % piece and stop != array.shape[0]) or stop > array.shape[0]:
        raise ValueError(
            f"rows [{start}, {stop}) of {array.path} are not whole pieces of {piece} rows; the "
            f"array has {array.shape[0]}"
        )
    writable(array)[start:stop] = values


def checksum(values: np.ndarray[Any, Any]) -> int:
    """Return the CRC-32 of an array's bytes in C order, which tells whole pieces apart.

    A piece's own crc32c tells only that its bytes are those that were written as some piece.
    """
    return zlib.crc32(np.ascontiguousarray(values).data if values.size else b"")


def recorded_checksums(found: Any, n_pieces: int) -> list[int | None]:
    """Return what was recorded of each piece, None of each where nothing was.

    Parameters
    ----------
    found
        A list of `checksum` from metadata, or None.
    n_pieces
        How many there must be.

    Raises
    ------
    ValueError
        When it is something else.
    """
    if found is None:
        return [None] * n_pieces
    if not isinstance(found, list) or len(found) != n_pieces:
        raise ValueError(f"checksums of other than {n_pieces:,} pieces are recorded")
    return found


def member(group: zarr.Group, name: str, *, url: str) -> zarr.Array[Any]:
    """Return the array `name` of a group, unread.

    Raises
    ------
    CorruptStoreError
        When it is absent or its metadata is damaged.
    """
    why = "is absent"
    try:
        found = group.get(name)
    except UNREADABLE as error:
        found, why = None, f"has metadata that cannot be read ({error!r})"
    if not isinstance(found, zarr.Array):
        raise CorruptStoreError(
            f"{url}: array {name} {why}; the store is damaged: make it again or copy it again."
        )
    return found


def open_member(url: str, name: str, *, mode: Literal["r", "r+"] = "r") -> zarr.Array[Any]:
    """Return the array `name` of the group at `url`, unread; `mode` "r+" to write to it.

    Raises
    ------
    CorruptStoreError, NotAStoreError
        As `member` and `urls.open_group`.
    """
    return member(urls.open_group(url, mode=mode), name, url=url)


def read_array(array: zarr.Array[Any], start: int, stop: int, *, url: str) -> np.ndarray[Any, Any]:
    """Return rows [start, stop) of `array`.

    Raises
    ------
    CorruptStoreError
        When the stored bytes cannot be decoded or fail their checksum.
    AccessDeniedError
        When they may not be read.
    TooLittleMemoryError
        When the rows, or a chunk of them, are declared larger than the memory that is free.
    """
    check_memory(array, stop - start, url=url)
    try:
        with remote.outage_errors(url):
            found = np.asarray(array[start:stop])
    except UNREADABLE as error:
        raise CorruptStoreError(
            f"{url}: array {array.path}, rows {start} to {stop}, cannot be read ({error!r}); the "
            "store is damaged: make it again or copy it again."
        ) from error
    if len(found) != stop - start:
        raise CorruptStoreError(
            f"{url}: array {array.path} has {array.shape[0]} rows, where rows {start} to {stop} "
            "are needed; the store is damaged: make it again or copy it again."
        )
    return found


def check_memory(array: zarr.Array[Any], n_rows: int, *, url: str) -> None:
    """Raise TooLittleMemoryError when rows of an array, or one of its chunks, do not fit memory.

    Shapes are what metadata declares: a few damaged bytes of it can ask for any amount.
    """
    row_bytes = math.prod(array.shape[1:]) * array.dtype.itemsize
    needed = max(n_rows * row_bytes, math.prod(array.chunks) * array.dtype.itemsize)
    if needed <= _SMALL_BYTES or needed <= (free := memory.free_bytes()):
        return
    raise TooLittleMemoryError(
        f"{url}: array {array.path} declares {needed / 1e9:,.1f} GB to be read at once, and "
        f"{free / 1e9:,.1f} GB of memory are free; use a machine with more, or, if the store "
        "cannot be that large, copy it again."
    )


def check_chunks(array: zarr.Array[Any], *, url: str) -> None:
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
    _check_stored(array, _files_of(url, [array], array.path), url=url)


def check_group(group: zarr.Group, *, url: str) -> list[zarr.Array[Any]]:
    """Do `check_chunks` for every array of `group`, at any depth, by one listing; return them.

    Raises
    ------
    CorruptStoreError
        When a piece is missing, or metadata cannot be read.
    """
    try:
        members = [member for _, member in group.members(max_depth=None)]
    except UNREADABLE as error:
        raise CorruptStoreError(
            f"{url} has metadata that cannot be read ({error!r}); the store is damaged: make it "
            "again or copy it again."
        ) from error
    found = [member for member in members if isinstance(member, zarr.Array)]
    files = _files_of(url, found, group.path)
    for array in found:
        _check_stored(array, files, url=url)
    return found


def stored_files(url: str, path: str = "") -> set[str]:
    """Return the names, as from `url`, of all non-empty files below `path` in the store there."""
    fs, root = urls.filesystem(url)
    fs.invalidate_cache()
    with remote.outage_errors(url):
        files = fs.find(urls.join(root, path), detail=True)
    start = f"{root.rstrip('/')}/"
    return {str(name).removeprefix(start) for name, info in files.items() if info["size"] > 0}


def _files_of(url: str, found: Sequence[zarr.Array[Any]], path: str) -> set[str]:
    """Return the files below `path` by one listing; where a server lists none, those asked for."""
    if not urls.lists_nothing(url):
        return stored_files(url, path)
    pieces = [name for array in found for name in piece_names(array)]
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        sizes = pool.map(lambda name: urls.stored_bytes(urls.join(url, name)), pieces)
        return {name for name, n_bytes in zip(pieces, sizes, strict=True) if n_bytes > 0}


def piece_names(array: zarr.Array[Any]) -> Iterator[str]:
    """Yield the names, within the store, of all pieces (chunks or shards) of an array."""
    for place in itertools.product(*map(range, _grid(array))):
        key = array.metadata.encode_chunk_key(place)
        yield f"{array.path}/{key}" if array.path else key


def row_piece(array: zarr.Array[Any], row: int) -> str:
    """Return the name, within the store, of the piece that holds `row` of a table cut by rows."""
    place = (row // (array.shards or array.chunks)[0], *(0 for _ in array.shape[1:]))
    return f"{array.path}/{array.metadata.encode_chunk_key(place)}"


def _grid(array: zarr.Array[Any]) -> list[int]:
    """Return the number of pieces along each axis; of a damaged shape it may be any."""
    return [
        -(-size // piece)
        for size, piece in zip(array.shape, array.shards or array.chunks, strict=True)
    ]


def _check_stored(array: zarr.Array[Any], files: set[str], *, url: str) -> None:
    expected = math.prod(_grid(array))
    if expected > len(files) or not all(name in files for name in piece_names(array)):
        own = [name for name in files if name.startswith(f"{array.path}/")]
        found = sum(not name.endswith(("zarr.json", _UNFINISHED)) for name in own)
        raise CorruptStoreError(
            f"{url}: array {array.path} has {found} of its {expected} stored pieces; the store is "
            "damaged: make it again or copy it again."
        )
