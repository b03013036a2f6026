"""A FASTA's text by byte ranges: a plain file, or one compressed with bgzip.

bgzip is gzip in blocks of at most 64 KiB of text. Where each begins is read from the blocks' own
heads when the file is opened, so that no ``.gzi`` beside it need be believed.
"""

from __future__ import annotations

import zlib
from typing import IO, TYPE_CHECKING, Protocol

import numpy as np

from atlasstore.files.text import BGZF_HEADER_BYTES, bgzf_block_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Text", "is_bgzip", "open_fasta_text"]

_BLOCK_BYTES = 1 << 16


class Text(Protocol):
    """Text that is read by ranges of bytes."""

    size: int
    """Bytes in all."""

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop), fewer at the end."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def is_bgzip(fasta: Path) -> bool:
    """Whether a FASTA is compressed, by its name."""
    return fasta.suffix.lower() in (".gz", ".bgz")


def open_fasta_text(fasta: Path) -> Text:
    """Open a FASTA.

    Raises
    ------
    ValueError
        When it is named as bgzip and is none.
    """
    return _Bgzip(fasta) if is_bgzip(fasta) else _Plain(fasta)


class _Plain:
    def __init__(self, fasta: Path) -> None:
        self._file = fasta.open("rb")
        self.size = fasta.stat().st_size
        self.close = self._file.close

    def read(self, start: int, stop: int) -> bytes:
        self._file.seek(start)
        return self._file.read(max(0, min(stop, self.size) - start))


class _Bgzip:
    def __init__(self, fasta: Path) -> None:
        self._file = fasta.open("rb")
        self.close = self._file.close
        try:
            at, sizes = _blocks(self._file, fasta.stat().st_size)
        except BaseException:
            self._file.close()
            raise
        self._at = at
        self._start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.size = int(self._start[-1])
        self._held = (-1, b"")

    def read(self, start: int, stop: int) -> bytes:
        first, last = np.searchsorted(self._start, [start, min(stop, self.size) - 1], side="right")
        text = b"".join(self._block(block) for block in range(first - 1, last))
        begin = int(self._start[first - 1])
        return text[start - begin : stop - begin]

    def _block(self, block: int) -> bytes:
        if self._held[0] != block:
            self._held = (block, self._inflated(block))
        return self._held[1]

    def _inflated(self, block: int) -> bytes:
        if block >= len(self._at) - 1:
            return b""
        at, end = self._at[block] + BGZF_HEADER_BYTES, self._at[block + 1]
        self._file.seek(at)
        stored = self._file.read(end - at)
        text = zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(stored[:-8], _BLOCK_BYTES)
        if zlib.crc32(text) != int.from_bytes(stored[-8:-4], "little"):
            raise ValueError(f"the bgzip block at byte {self._at[block]} fails its checksum")
        return text


def _blocks(file: IO[bytes], size: int) -> tuple[list[int], list[int]]:
    """Return where each block begins, and the file's end; and the size of each block's text."""
    at, sizes = [0], []
    while at[-1] < size:
        file.seek(at[-1])
        n_bytes = bgzf_block_bytes(file.read(BGZF_HEADER_BYTES))
        if n_bytes is None or n_bytes < BGZF_HEADER_BYTES + 8 or at[-1] + n_bytes > size:
            raise ValueError(f"no whole bgzip block begins at byte {at[-1]}")
        file.seek(at[-1] + n_bytes - 4)
        sizes.append(int.from_bytes(file.read(4), "little"))
        if sizes[-1] > _BLOCK_BYTES:
            raise ValueError(f"the bgzip block at byte {at[-1]} holds {sizes[-1]:,} bytes of text")
        at.append(at[-1] + n_bytes)
    return at, sizes
