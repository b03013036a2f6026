"""Text inputs (BED, barcode lists, fragments), plain or gzip, at a path or URL.

Whether a file is compressed is read from its first bytes, not from its name. bgzip is gzip in
many members; its end marker is checked, because a bgzip file cut between two members is a valid
gzip file and would otherwise lose rows without an error.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import IO, TYPE_CHECKING, cast

from atlasstore import urls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.errors import UserInputError

__all__ = ["DAMAGED", "TextStream", "numbered_lines", "open_raw", "open_text"]

DAMAGED = (EOFError, OSError, zlib.error)
"""What reading a cut or damaged gzip stream raises."""

TextStream = io.BufferedReader | gzip.GzipFile
"""Both can `peek`, `readline` and be iterated by lines."""

_GZIP_MAGIC = b"\x1f\x8b"
_BGZF_EXTRA = b"\x06\x00BC\x02\x00"
_BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def open_raw(url: str | Path, *, error: type[UserInputError]) -> IO[bytes]:
    """Open the stored bytes of one file, compressed or not.

    Raises
    ------
    UserInputError
        Of the class `error`, when there is no such file or it is a folder.
    """
    fs, path = urls.filesystem(url)
    if not fs.exists(path):
        raise error(f"{url} does not exist; check the path or URL.")
    if not fs.isfile(path):
        raise error(f"{url} is a folder where a file is needed; give the file inside it.")
    return cast("IO[bytes]", fs.open(path, "rb"))


def open_text(raw: IO[bytes], *, name: str, error: type[UserInputError]) -> TextStream:
    """Return the text in `raw` as bytes, decompressed where it is gzip or bgzip.

    Raises
    ------
    UserInputError
        Of the class `error`, when a bgzip file lacks its end marker: it was cut.
    """
    head = raw.read(18)
    raw.seek(0)
    if not head.startswith(_GZIP_MAGIC):
        return io.BufferedReader(cast("io.RawIOBase", raw), 1 << 20)
    if head[10:16] == _BGZF_EXTRA:
        _check_bgzip_end(raw, name=name, error=error)
    # not buffered once more: a buffer around a broken stream loses the lines before the break
    return gzip.GzipFile(fileobj=raw)


def _check_bgzip_end(raw: IO[bytes], *, name: str, error: type[UserInputError]) -> None:
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


def numbered_lines(url: str | Path, *, error: type[UserInputError]) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, text without its line end) for every line of a text file.

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
                decoded = line.decode().rstrip("\r\n")
                number += 1
                yield number, decoded
        except UnicodeDecodeError as cause:
            raise error(f"{url} is not text at line {number + 1}; give a text file.") from cause
        except DAMAGED as cause:
            raise error(
                f"{url} is truncated or damaged: {number:,} lines can be read, then its gzip "
                f"stream breaks ({cause}); copy or download it again."
            ) from cause
