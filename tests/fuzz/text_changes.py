"""Changes of text: its lines, fields, encoding, and how it is compressed."""

from __future__ import annotations

import gzip
import io
import re
from typing import TYPE_CHECKING

from Bio import bgzf

from fuzz.changes import BYTES, ODD_TEXTS, Change, on_bytes, pick, sealed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fuzz.changes import Numbers

__all__ = ["COMPRESSED", "TEXT"]

_FIELD = re.compile(rb"[^\s,;:=|]+")
_SEPARATOR = re.compile(rb"[\t ,;:=|]+")
_LINE_END = re.compile(rb"\r?\n")
_SEPARATORS = (b"\t", b" ", b",", b";", b"  ", b"\t\t", b"", b"\n", b"\x00", b"|")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf\xef\xbb\xbf")
_ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-7", "cp037")


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True) or [b""]


def _drop_line(content: bytes, numbers: Numbers) -> bytes:
    lines = _lines(content)
    del lines[numbers[0] % len(lines)]
    return b"".join(lines)


def _repeat_line(content: bytes, numbers: Numbers) -> bytes:
    lines = _lines(content)
    lines.insert(numbers[1] % len(lines), pick(lines, numbers[0]))
    return b"".join(lines)


def _repeat_often(content: bytes, numbers: Numbers) -> bytes:
    lines = _lines(content)
    lines.insert(numbers[1] % len(lines), pick(lines, numbers[0]) * (1000 + numbers[2] % 9000))
    return b"".join(lines)


def _swap_lines(content: bytes, numbers: Numbers) -> bytes:
    lines = _lines(content)
    a, b = numbers[0] % len(lines), numbers[1] % len(lines)
    lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def _odd_line(content: bytes, numbers: Numbers) -> bytes:
    lines = _lines(content)
    lines.insert(numbers[0] % (len(lines) + 1), pick(ODD_TEXTS, numbers[1]).encode() + b"\n")
    return b"".join(lines)


def _odd_field(content: bytes, numbers: Numbers) -> bytes:
    found = list(_FIELD.finditer(content))
    if not found:
        return content
    at = pick(found, numbers[0])
    return content[: at.start()] + pick(ODD_TEXTS, numbers[1]).encode() + content[at.end() :]


def _copied_field(content: bytes, numbers: Numbers) -> bytes:
    found = list(_FIELD.finditer(content))
    if not found:
        return content
    at = pick(found, numbers[0])
    return content[: at.start()] + pick(found, numbers[1])[0] + content[at.end() :]


def _odd_separator(content: bytes, numbers: Numbers) -> bytes:
    found = list(_SEPARATOR.finditer(content))
    if not found:
        return content
    at = pick(found, numbers[0])
    return content[: at.start()] + pick(_SEPARATORS, numbers[1]) + content[at.end() :]


def _odd_separators(content: bytes, numbers: Numbers) -> bytes:
    """Change every separator of one kind."""
    kind = pick((b"\t", b",", b" "), numbers[0])
    return content.replace(kind, pick(_SEPARATORS, numbers[1]))


def _other_case(content: bytes, numbers: Numbers) -> bytes:
    return pick((bytes.upper, bytes.lower, bytes.swapcase), numbers[0])(content)


def _encoded(content: bytes, numbers: Numbers) -> bytes:
    return content.decode("latin-1").encode(pick(_ENCODINGS, numbers[0]))


def _quoted(content: bytes, numbers: Numbers) -> bytes:
    return _FIELD.sub(lambda found: b'"' + found[0] + b'"', content)


def _multi_member(content: bytes, numbers: Numbers) -> bytes:
    """Compress in members that end within lines."""
    step = 1 + numbers[0] % max(1, len(content))
    step = max(step, len(content) // 9)
    parts = [content[i : i + step] for i in range(0, len(content), step)]
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def bgzipped(content: bytes) -> bytes:
    """Return content as bgzip."""
    made = io.BytesIO()
    made.close, writer = lambda: None, bgzf.BgzfWriter(fileobj=made)  # type: ignore[method-assign]
    writer.write(content)
    writer.close()
    return made.getvalue()


# these mean the same to whoever reads text
_SAME = (
    Change("byte order mark", on_bytes(lambda c, _: _BOMS[0] + c), is_sealed=True),
    Change("Windows line ends", on_bytes(lambda c, _: _LINE_END.sub(b"\r\n", c)), is_sealed=True),
    Change("no last line end", on_bytes(lambda c, _: c.rstrip(b"\r\n")), is_sealed=True),
)  # fmt: skip
TEXT = (
    *BYTES,
    *_SAME,
    Change("odd mark", on_bytes(lambda c, n: pick(_BOMS, n[0]) + c)),
    Change("drop a line", on_bytes(_drop_line)),
    Change("repeat a line", on_bytes(_repeat_line)),
    Change("repeat a line often", on_bytes(_repeat_often)),
    Change("swap lines", on_bytes(_swap_lines)),
    Change("odd line", on_bytes(_odd_line)),
    Change("odd field", on_bytes(_odd_field)),
    Change("odd field once more", on_bytes(_odd_field)),
    Change("copied field", on_bytes(_copied_field)),
    Change("odd separator", on_bytes(_odd_separator)),
    Change("odd separators", on_bytes(_odd_separators)),
    Change("other case", on_bytes(_other_case)),
    Change("encoding", on_bytes(_encoded)),
    Change("quotes", on_bytes(_quoted)),
    Change("old Macintosh line ends", on_bytes(lambda c, _: c.replace(b"\n", b"\r"))),
)


def _inflated(change: Change) -> Change:
    """Change the text inside, and compress it again as it was."""

    def apply(path: Path, numbers: Numbers) -> None:
        stored = path.read_bytes()
        compress = _compress_as(stored)
        path.write_bytes(gzip.decompress(stored))
        change.apply(path, numbers)
        path.write_bytes(compress(path.read_bytes()))

    return Change(f"{change.name} inside", apply, is_sealed=change.is_sealed)


def _compress_as(stored: bytes) -> Callable[[bytes], bytes]:
    return bgzipped if stored[12:14] == b"BC" else gzip.compress


COMPRESSED = (
    *sealed(BYTES),
    *(_inflated(change) for change in TEXT),
    Change("members", on_bytes(lambda c, n: _multi_member(gzip.decompress(c), n)), is_sealed=True),
    Change("bgzip", on_bytes(lambda c, _: bgzipped(gzip.decompress(c))), is_sealed=True),
    Change(
        "not compressed", on_bytes(lambda c, _: gzip.decompress(c)), is_sealed=True, unseals=True
    ),
)
"""gzip or bgzip: every byte of it is under a checksum."""
