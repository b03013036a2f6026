"""A FASTA's index: where each sequence's bases lie (``.fai``, as samtools and pyfaidx write it).

One beside the FASTA is used when it is not older and agrees with it: before the bases of each
sequence stands its header, and behind the last base nothing but line ends. A copied or touched
index of another file would shift every base. Otherwise one is built, once, in the user's cache
folder.
"""

from __future__ import annotations

import codecs
import hashlib
import uuid
from typing import TYPE_CHECKING, NamedTuple

from atlasstore.errors import GenomeError
from atlasstore.files.text import whole_number
from atlasstore.files.user_cache import user_cache

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.genome._fasta_bytes import Text

__all__ = ["Record", "fasta_index"]

_CHUNK_BYTES = 1 << 22
_MOST_HEADER_BYTES = 1 << 16


class Record(NamedTuple):
    """One sequence."""

    name: str
    length: int
    """In bp."""
    offset: int
    """Of the first base, in bytes of text."""
    line_bases: int
    line_bytes: int

    def place(self, base: int) -> int:
        """Return the byte of a base, counted from 0."""
        if not self.line_bases:
            return self.offset
        return self.offset + base // self.line_bases * self.line_bytes + base % self.line_bases

    @property
    def end(self) -> int:
        """The byte after the last base; a last line needs no line end."""
        return self.place(self.length - 1) + 1 if self.length else self.offset


def fasta_index(fasta: Path, text: Text) -> dict[str, Record]:
    """Return the sequences of an open FASTA by name, in its order.

    Raises
    ------
    ValueError
        When it is no FASTA whose sequences have lines of one length.
    GenomeError
        When it ends before the last base that an index beside it names.
    """
    cached = _cache_folder(fasta) / f"{fasta.name}.fai"
    for place in (fasta.with_name(f"{fasta.name}.fai"), cached):
        if _is_current(place, fasta):
            records = _read(place)
            if records and _agree(records, text, fasta):
                return {record.name: record for record in records}
    records = list(_scan(text))
    if not records:
        raise ValueError("it has no sequence")
    _write(cached, records)
    return {record.name: record for record in records}


def _is_current(index: Path, fasta: Path) -> bool:
    return index.is_file() and index.stat().st_mtime >= fasta.stat().st_mtime


def _read(index: Path) -> list[Record]:
    """Return the records of an index; none where it is no index."""
    try:
        rows = [line.split("\t") for line in index.read_text().splitlines()]
        return [Record(row[0], *map(whole_number, row[1:5])) for row in rows]
    except (OSError, ValueError, TypeError, IndexError):
        return []


def _agree(records: list[Record], text: Text, fasta: Path) -> bool:
    """Whether each record's bases lie behind its header, and nothing lies between them.

    Raises
    ------
    GenomeError
        When the bases of one go on past the text's end.
    """
    end = 0
    for record in sorted(records, key=lambda record: record.offset):
        if not end <= record.offset <= min(end + _MOST_HEADER_BYTES, text.size):
            return False
        if record.length < 0 or (record.length and not 0 < record.line_bases < record.line_bytes):
            return False
        if not _is_header(text.read(end, record.offset), record.name):
            return False
        if record.end > text.size:
            raise GenomeError(
                f"{fasta} is cut off: its index names bases of {record.name} past the file's end; "
                "copy the FASTA again, or delete the .fai beside it if that is of another genome."
            )
        if record.length > record.line_bases:
            first = record.offset
            if text.read(first + record.line_bases, first + record.line_bytes).strip():
                return False
        end = record.end
    return text.size - end <= _MOST_HEADER_BYTES and not text.read(end, text.size).strip()


def _is_header(gap: bytes, name: str) -> bool:
    """Whether `gap` is line ends, then the one line that names the sequence."""
    line = gap.removeprefix(codecs.BOM_UTF8).lstrip()
    words = line[1:].split(maxsplit=1)
    is_line = line.startswith(b">") and line.count(b"\n") <= 1 and bool(words)
    return is_line and words[0].decode(errors="replace") == name


def _scan(text: Text) -> Iterator[Record]:
    """Yield the records of a FASTA in one pass."""
    now, names = None, set[str]()
    for line in _lines(text):
        if line.head.startswith(b">"):
            if now is not None:
                yield now.record()
            now = _Sequence(line, names)
        elif now is not None:
            now.add(line)
        elif line.n_bases:
            raise ValueError(f"line {line.number} is not a header that begins with >")
    if now is not None:
        yield now.record()


class _Line(NamedTuple):
    number: int
    start: int
    head: bytes
    """Its first bytes."""
    n_bases: int
    """Bytes without those of its end."""
    n_bytes: int


class _Sequence:
    """A sequence whose lines are being read."""

    def __init__(self, header: _Line, names: set[str]) -> None:
        words = header.head[1:].split(maxsplit=1)
        if not words:
            raise ValueError(f"line {header.number} names no sequence")
        self.name = words[0].decode()
        if self.name in names:
            raise ValueError(f"line {header.number} names {self.name}, as a line before it does")
        names.add(self.name)
        self.offset, self.length = header.start + header.n_bytes, 0
        self.line_bases = self.line_bytes = 0
        self._is_over = False

    def add(self, line: _Line) -> None:
        """Count a line: as long as those before it, unless it is the last."""
        if not line.n_bases:
            self._is_over = True
            return
        if not self.length:
            self.offset, self.line_bases, self.line_bytes = line.start, line.n_bases, line.n_bytes
        ends_alike = line.n_bytes - line.n_bases == self.line_bytes - self.line_bases
        if self._is_over or line.n_bases > self.line_bases:
            raise ValueError(
                f"line {line.number} of {self.name} is longer than those before it, or follows a "
                "shorter one; all but the last must be of one length"
            )
        self._is_over = line.n_bases < self.line_bases or not ends_alike
        self.length += line.n_bases

    def record(self) -> Record:
        return Record(self.name, self.length, self.offset, self.line_bases, self.line_bytes)


def _lines(text: Text) -> Iterator[_Line]:
    """Yield each line, of which only the first bytes are held: one may be a chromosome."""
    number, start, at, head, last = 1, 0, 0, b"", b""
    for begin in range(0, text.size, _CHUNK_BYTES):
        parts = text.read(begin, min(begin + _CHUNK_BYTES, text.size)).split(b"\n")
        if begin == 0 and parts[0].startswith(codecs.BOM_UTF8):
            parts[0] = parts[0].removeprefix(codecs.BOM_UTF8)
            start = at = len(codecs.BOM_UTF8)
        for nth, part in enumerate(parts):
            if nth:
                at += 1
                n_bases = at - 1 - start - (last == b"\r")
                yield _Line(number, start, head, n_bases, at - start)
                number, start, head, last = number + 1, at, b"", b""
            if part:
                head = head + part[:_MOST_HEADER_BYTES] if len(head) < _MOST_HEADER_BYTES else head
                at, last = at + len(part), part[-1:]
    if at > start:  # a line end is taken to follow, for the last line alone
        yield _Line(number, start, head, at - start - (last == b"\r"), at - start + 1)


def _write(index: Path, records: list[Record]) -> None:
    """Write an index under a name of its own, then move it: a reader never sees half of it."""
    lines = ("\t".join(map(str, record)) + "\n" for record in records)
    partial = index.with_name(f".{uuid.uuid4().hex}.partial")
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text("".join(lines))
        partial.replace(index)
    except OSError:
        pass  # no room for it: it is built again next time
    finally:
        partial.unlink(missing_ok=True)


def _cache_folder(fasta: Path) -> Path:
    """Return a folder of the FASTA's path, size and time: a changed file gets a new one."""
    state = fasta.stat()
    key = f"{fasta.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    name = hashlib.sha256(key.encode()).hexdigest()[:16]
    return user_cache() / "atlasbasset" / "genomes" / name
