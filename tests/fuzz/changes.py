"""Changes of one file, by kind of file; each is told by three numbers, so that it can be replayed.

A change is *sealed* where a reader can and must tell that the file is not what was written: then
the only right outcomes are an error and the undamaged values. After any other change the file may
hold other values, and they are as good as the first.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["BYTES", "FOLDER", "ODD_TEXTS", "Change", "Numbers", "on_bytes", "pick", "sealed"]

Numbers = tuple[int, int, int]
"""Where, what, and how much: each taken modulo what there is."""
T = TypeVar("T")

ODD_TEXTS = (
    *("", " ", "-1", "0", "-0", "+5", "1.5", "1e3", "1e999", "nan", "NA", "inf", "-inf", "None"),
    *("2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808"),
    *("18446744073709551616", "-9223372036854775809", "9" * 5000, "-" + "9" * 5000),
    *("0." + "3" * 5000, "0x10", "1_000", "1,000", "\u0663", "\uff11\uff12", "\u00b2", "\u00e9"),
    *("\u2028", "\ufeff", "\U0001f9ec", "\x00", "\x1b[31m", "\x08", "\r", "\x0b", "\x85", "\xa0"),
    *('"', "'", '"a', "''", "\\", "a" * 70_000, "::", "../x", "/etc/passwd", "file:///etc/passwd"),
    *("s3://a:b@c/d", "~", "%00", "chr1", "chrUn"),
    *("true", "null", "[]", "{}", "[" * 3000, "=1+1", "#", ">", "+", "*", ".", "-", "N" * 300),
)  # fmt: skip
"""Fields that are no number, or one that few programs expect."""


@dataclass(frozen=True)
class Change:
    """One way to change a file."""

    name: str
    apply: Callable[[Path, Numbers], None]
    is_sealed: bool = False
    unseals: bool = False
    """Whether later changes of the file are of one without checksums."""

    @property
    def label(self) -> str:
        """The name, unlike that of the same change of a file without checksums."""
        return f"{self.name} (sealed)" if self.is_sealed else self.name


def pick(values: Sequence[T], number: int) -> T:
    """Return the entry that a number names."""
    return values[number % len(values)]


def on_bytes(change: Callable[[bytes, Numbers], bytes]) -> Callable[[Path, Numbers], None]:
    """Make a change of content one of a file."""

    def apply(path: Path, numbers: Numbers) -> None:
        path.write_bytes(change(path.read_bytes(), numbers))

    return apply


def sealed(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return the same changes of files whose damage a reader must see."""
    return tuple(Change(c.name, c.apply, is_sealed=True) for c in changes)


def _flip(content: bytes, numbers: Numbers) -> bytes:
    at = numbers[0] % max(1, len(content))
    flipped = bytes(b ^ (1 << numbers[1] % 8) for b in content[at : at + 1])
    return content[:at] + flipped + content[at + 1 :]


def _overwrite(content: bytes, numbers: Numbers) -> bytes:
    at, length = numbers[0] % max(1, len(content)), 1 + numbers[2] % 16
    new = (numbers[1].to_bytes(8, "little") * 2)[:length]
    return content[:at] + new + content[at + length :]


def _cut(content: bytes, numbers: Numbers) -> bytes:
    return content[: numbers[0] % max(1, len(content))]


def _without(content: bytes, numbers: Numbers) -> bytes:
    at = numbers[0] % max(1, len(content))
    return content[:at] + content[at + 1 + numbers[1] % 64 :]


def _repeated(content: bytes, numbers: Numbers) -> bytes:
    at = numbers[0] % max(1, len(content))
    return content[:at] + content[at : at + 1 + numbers[1] % 256] + content[at:]


def _swapped(content: bytes, numbers: Numbers) -> bytes:
    size = 1 + numbers[2] % 64
    first, second = sorted(n % max(1, len(content)) for n in numbers[:2])
    a, b = content[first : first + size], content[second : second + size]
    if first + size > second:
        return content
    return content[:first] + b + content[first + size : second] + a + content[second + size :]


BYTES = (
    Change("flip", on_bytes(_flip)),
    Change("overwrite", on_bytes(_overwrite)),
    Change("cut", on_bytes(_cut)),
    Change("drop bytes", on_bytes(_without)),
    Change("repeat bytes", on_bytes(_repeated)),
    Change("swap bytes", on_bytes(_swapped)),
    Change("empty", on_bytes(lambda _, __: b"")),
    Change("garbage behind", on_bytes(lambda c, n: c + bytes([n[0] % 256]) * (1 + n[1] % 99))),
)  # fmt: skip


def files(folder: Path) -> list[Path]:
    """Return the files of a folder at any depth, in a fixed order."""
    return sorted(p for p in folder.rglob("*") if p.is_file())


def _inside(change: Callable[[bytes, Numbers], bytes] | None, *, suffix: str = "") -> Any:
    """Make a change of content one of a folder: of the file that the sum of the numbers names."""

    def apply(folder: Path, numbers: Numbers) -> None:
        found = [p for p in files(folder) if p.name.endswith(suffix)]
        path = pick(found, sum(numbers) // 7)
        path.unlink() if change is None else path.write_bytes(change(path.read_bytes(), numbers))

    return apply


def _swap_files(folder: Path, numbers: Numbers) -> None:
    found = files(folder)
    a, b = pick(found, numbers[0]), pick(found, numbers[1])
    content = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(content)


def _copy_over(folder: Path, numbers: Numbers) -> None:
    found = files(folder)
    pick(found, numbers[1]).write_bytes(pick(found, numbers[0]).read_bytes())


def _lose_folder(folder: Path, numbers: Numbers) -> None:
    shutil.rmtree(pick(sorted(p for p in folder.rglob("*") if p.is_dir()), numbers[0]))


def _folder_for_file(folder: Path, numbers: Numbers) -> None:
    path = pick(files(folder), numbers[0])
    path.unlink()
    path.mkdir()


FOLDER = (
    *(
        Change(f"{c.name} in a file", _inside(change))
        for c, change in zip(
            BYTES[:6], (_flip, _overwrite, _cut, _without, _repeated, _swapped), strict=True
        )
    ),
    Change("flip in metadata", _inside(_flip, suffix=".json")),
    Change("overwrite in metadata", _inside(_overwrite, suffix=".json")),
    Change("lose a file", _inside(None)),
    Change("swap two files", _swap_files),
    Change("copy a file over another", _copy_over),
    Change("lose a folder", _lose_folder),
    Change("a folder for a file", _folder_for_file),
)
"""Of a folder that is one store."""
