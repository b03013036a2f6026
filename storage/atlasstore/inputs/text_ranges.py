"""A text file cut into pieces of whole lines that can be read apart: plain text and bgzip.

bgzip is gzip in blocks of at most 64 KiB of text, each of which can be decompressed by itself, so
pieces begin at blocks found by their header; no index is needed and lines may be in any order. A
file of plain gzip is one stream and one piece. A piece is a range of stored bytes; the lines it
owns begin after the first line end at or after its start and go on through the first line end at
or after its stop, so that neighbours share no line and miss none.
"""

from __future__ import annotations

import io
import zlib
from typing import IO, TYPE_CHECKING, cast

from atlasstore.files.bounded import PlainText
from atlasstore.files.text import (
    BGZF_HEADER_BYTES,
    bgzf_block_bytes,
    check_bgzip_end,
    mark_bytes,
    open_raw,
    open_text,
    text_kind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.errors import UserInputError
    from atlasstore.files.text import TextStream
    from atlasstore.inputs.source import Piece

__all__ = ["open_piece", "plan_text_pieces"]

PIECE_BYTES = 1 << 27
"""Stored bytes of a piece at most: about 10 million fragments in bgzip."""
MIN_PIECE_BYTES = 1 << 22
_PIECES_PER_WORKER = 4
_PLAIN_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 16
"""Of text in a bgzip block at most."""
_SEARCH_BYTES = 1 << 17
"""A block takes at most 64 KiB, so the next one begins within twice that."""

_Block = tuple[int, bytes]
"""Where a block begins in the file, and its text."""


def plan_text_pieces(
    url: str | Path,
    n_workers: int,
    *,
    error: type[UserInputError],
    least_bytes: int | None = None,
    most_bytes: int = PIECE_BYTES,
) -> list[Piece]:
    """Return ranges [start, stop) of stored bytes that cover the file.

    Parameters
    ----------
    url
        Path or URL.
    n_workers
        How many pieces should be under way at once.
    error
        The class of errors.
    least_bytes, most_bytes
        Stored bytes of a piece; by default at least `MIN_PIECE_BYTES`.

    Raises
    ------
    UserInputError
        When the file is missing, or a bgzip file lacks its end marker.
    """
    with open_raw(url, error=error) as raw:
        kind, size = text_kind(raw), raw.seek(0, io.SEEK_END)
        if kind == "bgzip":
            check_bgzip_end(raw, name=str(url), error=error)
    if kind == "gzip":
        return [(0, size)]
    share = -(-size // (n_workers * _PIECES_PER_WORKER)) if n_workers > 1 else size
    least = MIN_PIECE_BYTES if least_bytes is None else least_bytes
    step = min(most_bytes, max(least, share))
    return [(start, min(start + step, size)) for start in range(0, size, step)] or [(0, 0)]


def open_piece(
    raw: IO[bytes], piece: Piece | None, *, name: str, error: type[UserInputError]
) -> TextStream:
    """Return the lines of one piece of an open file; of the whole file without one.

    Raises
    ------
    UserInputError
        Of the class `error`, when a bgzip file lacks its end marker.
    """
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    if piece is None or piece == (0, size):
        return open_text(raw, name=name, error=error)
    blocks = _bgzip_blocks if text_kind(raw) == "bgzip" else _plain_blocks
    n_mark = mark_bytes(raw, name=name, error=error) if piece[0] == 0 else 0
    chunks = cast("IO[bytes]", _Chunks(_owned(blocks(raw, piece), piece)))
    text = PlainText(chunks, name=name, error=error)
    text.read(n_mark)
    return text


def _owned(blocks: Iterator[_Block], piece: Piece) -> Iterator[bytes]:
    """Yield the text of the lines that the piece owns."""
    start, stop = piece
    skipping = start > 0
    for at, block in blocks:
        text = block
        if skipping:
            if at >= stop:
                return
            line_end = text.find(b"\n")
            if line_end < 0:
                continue
            text, skipping = text[line_end + 1 :], False
        if at >= stop:
            line_end = text.find(b"\n")
            yield text[: line_end + 1] if line_end >= 0 else text
            if line_end >= 0:
                return
        else:
            yield text


def _plain_blocks(raw: IO[bytes], piece: Piece) -> Iterator[_Block]:
    """Yield text from the piece's start to the file's end; one block begins at its stop."""
    at, stop = piece
    raw.seek(at)
    while text := raw.read(min(_PLAIN_BYTES, stop - at) if at < stop else _PLAIN_BYTES):
        yield at, text
        at += len(text)


def _bgzip_blocks(raw: IO[bytes], piece: Piece) -> Iterator[_Block]:
    """Yield the blocks that begin at or after the piece's start, to the file's end."""
    at = _first_block(raw, piece[0])
    raw.seek(at)
    while header := raw.read(BGZF_HEADER_BYTES):
        n_bytes = bgzf_block_bytes(header)
        if n_bytes is None:
            raise EOFError(f"no bgzip block begins at byte {at}")
        yield at, _inflated(raw.read(n_bytes - BGZF_HEADER_BYTES), at)
        at += n_bytes


def _first_block(raw: IO[bytes], start: int) -> int:
    """Return where the first block at or after `start` begins; the file's size when none does."""
    raw.seek(start)
    head = raw.read(_SEARCH_BYTES)
    for at in range(len(head)):
        n_bytes = bgzf_block_bytes(head[at : at + BGZF_HEADER_BYTES])
        if n_bytes is None:
            continue
        raw.seek(start + at + n_bytes)
        following = raw.read(BGZF_HEADER_BYTES)
        if not following or bgzf_block_bytes(following) is not None:
            return start + at
    return start + len(head)


def _inflated(stored: bytes, at: int) -> bytes:
    """Return a block's text: what follows the header is deflated, then its checksum and size."""
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    text = stream.decompress(stored[:-8], _BLOCK_BYTES)
    if stream.unconsumed_tail:
        raise EOFError(f"the bgzip block at byte {at} holds more than {_BLOCK_BYTES} bytes")
    if zlib.crc32(text) != int.from_bytes(stored[-8:-4], "little"):
        raise EOFError(f"the bgzip block at byte {at} fails its checksum")
    return text


class _Chunks(io.RawIOBase):
    """Pieces of text as one raw stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        taken = min(len(buffer), len(self._rest))
        buffer[:taken] = self._rest[:taken]
        self._rest = self._rest[taken:]
        return taken
