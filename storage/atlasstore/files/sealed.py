"""Small files that a job writes for itself, each with a checksum behind its content."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["damaged", "read_sealed", "write_sealed"]

_CHECKSUM_BYTES = 4


def write_sealed(url: str | Path, content: bytes) -> None:
    """Write a file that `read_sealed` reads: the content and its CRC-32, little-endian."""
    urls.write_bytes(url, content + _checksum(content))


def read_sealed(url: str | Path) -> bytes:
    """Return what `write_sealed` wrote.

    Raises
    ------
    CorruptStoreError
        When the bytes are not what was written.
    NotAStoreError
        When the file is gone.
    """
    found = urls.read_bytes(url)
    content, checksum = found[:-_CHECKSUM_BYTES], found[-_CHECKSUM_BYTES:]
    if _checksum(content) != checksum:
        raise damaged(url)
    return content


def damaged(url: str | Path) -> CorruptStoreError:
    """Return the error of a job's file that is not what the job wrote."""
    return CorruptStoreError(
        f"{url} is not what was written; delete the job's folder (it ends in .partial) and run "
        "the job again."
    )


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little")
