"""Memory: parsing sizes, and what the machine and its container have free.

A job's bound is a number of bytes. By default it is a share of the free memory: of the machine, or
of the control group (container, Slurm job, systemd unit) if that is less.

To keep a bound, the allocator must return freed memory. glibc keeps arrays of up to 32 MB in each
thread's arena, so that a process of ten threads may hold twice what it uses.
"""

from __future__ import annotations

import ctypes
import gc
import re
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "default_bytes",
    "free_bytes",
    "give_back",
    "give_back_from_now_on",
    "keeping_freed",
    "parse_size",
    "resident_bytes",
]

_SHARE = 0.5
"""Of the free memory that a job takes by default; the rest is left to the page cache and others."""
_LITTLE = 1 / 8
"""Of a bound: a process that holds less is not measured to the byte."""
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
"""Parameters of ``mallopt`` (glibc, malloc.h)."""
_ALLOCATOR = {_MMAP_THRESHOLD: 4 << 20, _TRIM_THRESHOLD: 8 << 20, _ARENA_MAX: 4}
"""Arrays of 4 MiB, which numpy puts on huge pages, are the system's again when they are freed; an
arena keeps 8 MiB at its end at most, and there are few."""
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: (1 << 31) - 1}
"""All arrays come from the heap, which keeps up to 2 GiB at its end."""
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
"""What glibc comes to by itself in a process that has freed large arrays."""
_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def parse_size(text: str | int) -> int:
    """Return the bytes that a size such as ``2GB``, ``800 MiB`` or a plain number means.

    Raises
    ------
    UserInputError
        When it is no size, or not positive.
    """
    found = _SIZE.fullmatch(str(text))
    if found is not None:
        number, unit, binary = found[1], found[2].lower(), found[3]
        size = round(float(number) * (_BINARY[unit] if binary and unit else _UNITS[unit]))
        if size > 0:
            return size
    raise UserInputError(f"{text} is no size in memory; write for example 2GB or 800MB.")


def default_bytes() -> int:
    """Return the bound of a job that was given none: half of what is free, in bytes."""
    return int(free_bytes() * _SHARE)


def free_bytes(*, own_group: Path = _OWN_GROUP, groups: Path = _GROUPS) -> int:
    """Return the bytes that the machine and this process's control group still have.

    Parameters
    ----------
    own_group, groups
        The file that names this process's control groups, and the folder that holds all.
    """
    rooms = _group_rooms(_group_folders(own_group, groups))
    return max(0, min(int(psutil.virtual_memory().available), *rooms))


def resident_bytes(*, bound_bytes: int = 0) -> int:
    """Return what this process holds in memory now, in bytes.

    Garbage is collected first, and what is still with the C allocator is given back (glibc). That
    takes up to a second in a process with many libraries, so not while the process holds less than
    an eighth of `bound_bytes`: a plan within that bound would hardly change.
    """
    process = psutil.Process()
    held = int(process.memory_info().rss)
    if held >= bound_bytes * _LITTLE:
        gc.collect()
        give_back()
        held = int(process.memory_info().rss)
    return held


def give_back() -> None:
    """Return what was freed but is still with the C allocator to the system (glibc)."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back_from_now_on() -> None:
    """Have the C allocator return large arrays as they are freed, and keep little else (glibc).

    This holds for the whole process and cannot be undone; done again it changes nothing.
    """
    _set_allocator(_ALLOCATOR)


@contextmanager
def keeping_freed() -> Iterator[None]:
    """Have the C allocator keep what is freed for what is allocated next, in the whole process.

    For loops that need the same large arrays again and again: the system clears each page that it
    hands out, which takes about as long as a pass over it (glibc).
    """
    _set_allocator(_KEEP)
    try:
        yield
    finally:
        _set_allocator(_USUAL)
        give_back()


def _set_allocator(parameters: Mapping[int, int]) -> None:
    with suppress(AttributeError, OSError, TypeError):
        allocator = ctypes.CDLL(None)
        for parameter, value in parameters.items():
            allocator.mallopt(parameter, value)


def _group_rooms(folders: Iterable[Path]) -> list[int]:
    """Return what each limited control group of these leaves; a huge number for none."""
    rooms = [1 << 62]
    for folder in folders:
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            most, held = _number(folder / limit), _number(folder / used)
            if most is not None and held is not None:
                rooms.append(most - held + _reclaimable(folder))
    return rooms


def _group_folders(own_group: Path, groups: Path) -> list[Path]:
    """Return the folders of this process's groups and those above them, versions 1 and 2."""
    try:
        lines = own_group.read_text().splitlines()
    except OSError:
        return []
    folders = []
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root = groups / "memory" if controllers else groups
        own = root / path.lstrip("/")
        folders += [own, *(p for p in own.parents if p == root or root in p.parents)]
    return folders


def _reclaimable(folder: Path) -> int:
    """Return the page cache that the kernel gives back on demand but counts as used."""
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    stats = dict(line.split() for line in lines if line.count(" ") == 1)
    return int(stats.get("inactive_file", stats.get("total_inactive_file", 0)))


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
