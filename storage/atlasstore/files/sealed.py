"""Small files that a job writes for itself, each with a checksum behind its content.

The checksum is of the file's name, too: a whole file in the place of another is noticed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["damaged", "read_sealed", "unsealed", "write_sealed"]

_SEAL_BYTES = 10
"""A line end, eight hexadecimal digits, a line end: the content, where it is text, stays text."""


def write_sealed(url: str | Path, content: bytes) -> None:
    """Write a file that `read_sealed` reads: the content and a checksum."""
    urls.write_bytes(url, content + _checksum(content, str(url)))


def read_sealed(url: str | Path) -> bytes:
    """Return what `write_sealed` wrote.

    Raises
    ------
    CorruptStoreError
        When the bytes are not what was written.
    NotAStoreError
        When the file is gone.
    """
    try:
        return unsealed(urls.read_bytes(url), url)
    except ValueError as error:
        raise damaged(url) from error


def unsealed(found: bytes, url: str | Path) -> bytes:
    """Return the content of a sealed file that was read already.

    Raises
    ------
    ValueError
        When it is not what was sealed.
    """
    content, checksum = found[:-_SEAL_BYTES], found[-_SEAL_BYTES:]
    if _checksum(content, str(url)) != checksum:
        raise ValueError("its checksum is not that of its content")
    return content


def damaged(url: str | Path) -> CorruptStoreError:
    """Return the error of a job's file that is not what the job wrote."""
    return CorruptStoreError(
        f"{url} is not what was written; delete the job's folder (it ends in .partial) and run "
        "the job again."
    )


def _checksum(content: bytes, url: str) -> bytes:
    name = url.rpartition("/")[2].encode()
    return f"\n{zlib.crc32(content, zlib.crc32(name)):08x}\n".encode()
