"""Text streams that stop at what is no text: a line without an end, or a bomb of compressed bytes.

Readers hold a line, or a table of lines, at a time. A small gzip file can hold gigabytes of one
line, and a sparse file terabytes; both would be in memory before a reader saw that they are wrong.
"""

from __future__ import annotations

import gzip
import io
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlasstore.errors import UserInputError

__all__ = ["MOST_LINE_BYTES", "GzipText", "PlainText"]

MOST_LINE_BYTES = 1 << 26
"""Of a line: a VCF of half a million samples has lines of 25 MB."""
_MOST_EXPANDED = 300
"""Times that text is larger than its gzip: tables of a genome come to 30."""
_FREE_BYTES = 1 << 25
"""Text that is not held against its stored size yet."""
_BUFFER = 1 << 20


class _Watch:
    """Counts what was read."""

    def __init__(
        self, stored: Callable[[], int], *, name: str, error: type[UserInputError]
    ) -> None:
        self._stored, self._name, self._error = stored, name, error
        self._read = self._in_line = 0

    def __call__(self, text: bytes) -> bytes:
        """Return `text`, or raise when all that was read is no text."""
        self._read += len(text)
        end = text.rfind(b"\n")
        self._in_line = len(text) - end - 1 if end >= 0 else self._in_line + len(text)
        if self._in_line > MOST_LINE_BYTES:
            raise self._error(
                f"{self._name} has a line of more than {MOST_LINE_BYTES >> 20} MiB; give a text "
                "file of lines."
            )
        if self._read > _FREE_BYTES and self._read > _MOST_EXPANDED * self._stored():
            raise self._error(
                f"{self._name} grows more than {_MOST_EXPANDED} times when it is decompressed, as "
                "no such text does; see what it is, and give it decompressed if it is right."
            )
        return text


class GzipText(gzip.GzipFile):
    """Text that is stored as gzip or bgzip."""

    def __init__(self, raw: IO[bytes], *, name: str, error: type[UserInputError]) -> None:
        super().__init__(fileobj=raw)
        self._watch = _Watch(raw.tell, name=name, error=error)

    def read(self, size: int | None = -1) -> bytes:
        """Return the next `size` bytes, or all that follow."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_BUFFER), b""))
        return self._watch(super().read(size))

    def read1(self, size: int = -1) -> bytes:
        """Return bytes that are at hand."""
        return self._watch(super().read1(size))

    def readline(self, size: int | None = -1) -> bytes:
        """Return the next line, or `size` bytes of it."""
        return self._watch(super().readline(_limit(size)))


class PlainText(io.BufferedReader):
    """Text that is stored as it is."""

    def __init__(self, raw: IO[bytes], *, name: str, error: type[UserInputError]) -> None:
        super().__init__(cast("io.RawIOBase", raw), _BUFFER)
        self._watch = _Watch(_endless, name=name, error=error)

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next `size` bytes, or all that follow."""
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(_BUFFER), b""))
        return self._watch(super().read(size))

    def read1(self, size: int = -1, /) -> bytes:
        """Return bytes that are at hand."""
        return self._watch(super().read1(size))

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, or `size` bytes of it."""
        return self._watch(super().readline(_limit(size)))


def _limit(size: int | None) -> int:
    most: Any = MOST_LINE_BYTES + 1
    return int(most if size is None or size < 0 else min(size, most))


def _endless() -> int:
    return 1 << 62
