"""Text inputs (BED, barcode lists, fragments), plain or gzip, at a path or URL.

Whether a file is compressed is read from its first bytes, not from its name. bgzip is gzip in
many members; its end marker is checked, because a bgzip file cut between two members is a valid
gzip file and would otherwise lose rows without an error.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from typing import IO, TYPE_CHECKING, Literal, cast

from atlasstore.files import remote, urls
from atlasstore.files.bounded import GzipText, PlainText

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.errors import UserInputError

__all__ = [
    "BGZF_HEADER_BYTES",
    "DAMAGED",
    "TextStream",
    "bgzf_block_bytes",
    "check_bgzip_end",
    "mark_bytes",
    "numbered_lines",
    "open_raw",
    "open_text",
    "text_kind",
    "whole_number",
]

DAMAGED = (EOFError, OSError, zlib.error)
"""What reading a cut or damaged gzip stream raises."""

TextStream = PlainText | GzipText | io.BufferedReader
"""Both can `peek`, `readline` and be iterated by lines."""

BGZF_HEADER_BYTES = 18
"""A bgzip block begins with a gzip header of this length, its size in the last two bytes."""

_HEAD_BYTES = 1 << 16
_MARKS_BYTES = 60
_GZIP_MAGIC = b"\x1f\x8b"
_BGZF_MAGIC = b"\x1f\x8b\x08\x04"
_BGZF_EXTRA = b"\x06\x00BC\x02\x00"
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_MARK = "\ufeff"
"""Byte order mark."""
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def open_raw(url: str | Path, *, error: type[UserInputError]) -> IO[bytes]:
    """Open the stored bytes of one file, compressed or not.

    Of a remote file an outage is an AtlasError, also while it is read, and none of `DAMAGED`.

    Raises
    ------
    UserInputError
        Of the class `error`, when there is no such file or it is a folder.
    """
    fs, path = urls.filesystem(url)
    with remote.outage_errors(url):
        if not fs.exists(path):
            raise error(f"{url} does not exist; check the path or URL.")
        if not fs.isfile(path):
            raise error(f"{url} is a folder where a file is needed; give the file inside it.")
        found = cast("IO[bytes]", fs.open(path, "rb"))
    if remote.is_remote(url):
        return cast("IO[bytes]", remote.RemoteFile(found, url))
    return found


def open_text(raw: IO[bytes], *, name: str, error: type[UserInputError]) -> TextStream:
    """Return the text in `raw` as bytes, decompressed where it is gzip or bgzip.

    Raises
    ------
    UserInputError
        Of the class `error`, when a bgzip file lacks its end marker, since it was cut, or its
        first bytes cannot be decompressed.
    """
    kind = text_kind(raw)
    if kind == "bgzip":
        check_bgzip_end(raw, name=name, error=error)
    n_mark = mark_bytes(raw, name=name, error=error)
    # not buffered once more: a buffer around a broken stream loses the lines before the break
    text = (PlainText if kind == "plain" else GzipText)(raw, name=name, error=error)
    try:
        text.read(n_mark)
    except DAMAGED as cause:
        raise error(
            f"{name} is truncated or damaged: its gzip stream breaks before the first line "
            f"({cause}); copy or download it again."
        ) from cause
    return text


def mark_bytes(raw: IO[bytes], *, name: str, error: type[UserInputError]) -> int:
    """Return the bytes of the byte order marks of UTF-8 at the top of an open file's text.

    Programs that know no marks put another before the first. The file stands at its start then.

    Raises
    ------
    UserInputError
        Of the class `error`, when the mark is that of another encoding.
    """
    raw.seek(0)
    head = raw.read(_HEAD_BYTES)
    raw.seek(0)
    if head.startswith(_GZIP_MAGIC):
        try:
            head = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(
                head, 20 * len(codecs.BOM_UTF8)
            )
        except zlib.error:
            return 0  # what reads it says where it breaks
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error(f"{name} is text in UTF-16; save it as UTF-8.")
    after = head
    while after.startswith(codecs.BOM_UTF8):
        after = after.removeprefix(codecs.BOM_UTF8)
    return len(head) - len(after)


def text_kind(raw: IO[bytes]) -> Literal["plain", "gzip", "bgzip"]:
    """Return how the text of an open file is stored; the file stands at its start then."""
    raw.seek(0)
    head = raw.read(BGZF_HEADER_BYTES)
    raw.seek(0)
    if not head.startswith(_GZIP_MAGIC):
        return "plain"
    return "gzip" if bgzf_block_bytes(head) is None else "bgzip"


def bgzf_block_bytes(header: bytes) -> int | None:
    """Return the stored size of the bgzip block that begins with `header`; None if none does.

    SAM specification, section 4.1: the extra field ``BC`` holds the size less one.
    """
    if header[:4] != _BGZF_MAGIC or header[10:16] != _BGZF_EXTRA or len(header) < BGZF_HEADER_BYTES:
        return None
    return int.from_bytes(header[16:18], "little") + 1


def check_bgzip_end(raw: IO[bytes], *, name: str, error: type[UserInputError]) -> None:
    """Refuse a bgzip file without its end marker; the file stands at its start then.

    Raises
    ------
    UserInputError
        Of the class `error`: the file was cut.
    """
    raw.seek(0, io.SEEK_END)
    size = raw.tell()
    raw.seek(max(0, size - len(_BGZF_END)))
    end = raw.read()
    raw.seek(0)
    if end == _BGZF_END:
        return
    last = _last_whole_line(raw)
    raw.seek(0)
    raise error(
        f"{name} is truncated: {last:,} lines can be read, then the bgzip end marker is missing; "
        "copy or download it again (or compress it again with bgzip if it is known to be whole)."
    )


def _last_whole_line(raw: IO[bytes]) -> int:
    number = 0
    try:
        with gzip.GzipFile(fileobj=raw) as stream:
            for line in stream:
                number += line.endswith(b"\n")
    except DAMAGED:
        pass
    return number


def whole_number(field: str) -> int:
    """Return the whole number that a field of a text is.

    Python's `int` takes more for one than the programs that write these files: ``1_000``, digits of
    other scripts, and as many as there are.

    Raises
    ------
    ValueError
        When it is none, or has more than 18 digits.
    """
    if not _WHOLE_NUMBER.fullmatch(field.strip()):
        raise ValueError(f"{field[:40]!r} is no whole number")
    return int(field)


def numbered_lines(
    url: str | Path, *, error: type[UserInputError], fallback: str | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without its line end) for every line of a text file.

    A byte order mark before the first line is no part of it.

    Parameters
    ----------
    url
        Path or URL, plain, gzip or bgzip.
    error
        What is raised of an input that cannot be read.
    fallback
        Encoding of the lines that are not UTF-8 ("latin-1"); by default they are refused.

    Raises
    ------
    UserInputError
        Of the class `error`, when the file is missing, cut, damaged or not text; the message
        says the last line that was read well.
    """
    number = 0
    with open_raw(url, error=error) as raw, open_text(raw, name=str(url), error=error) as text:
        try:
            for line in text:
                decoded = _decoded(line, fallback).rstrip("\r\n")
                number += 1
                yield number, decoded.removeprefix(_MARK) if number == 1 else decoded
        except UnicodeDecodeError as cause:
            raise error(f"{url} is not text at line {number + 1}; give a text file.") from cause
        except DAMAGED as cause:
            raise error(
                f"{url} is truncated or damaged: {number:,} lines can be read, then its gzip "
                f"stream breaks ({cause}); copy or download it again."
            ) from cause


def _decoded(line: bytes, fallback: str | None) -> str:
    """Return a line's text; a binary file has zero bytes sooner or later, and text has none."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        if fallback is None or b"\0" in line:
            raise
        return line.decode(fallback)
