"""Looks through an HDF5 file within limits of time and memory, as a program of its own.

``python hdf5_walk.py SECONDS``, the file's path or URL on standard input, since the arguments of a
process are seen by all and a URL may be signed. In a damaged file the HDF5 library may loop for
ever or crash, where Python can do nothing; here only this process is lost. What is read is all that
names and places other things: links, attributes, types, chunks, and text of any length. `hdf5` runs
it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, cast

import h5py

__all__ = ["main"]

_MEMORY_BYTES = 1 << 30
_TEXTS_AT_ONCE = 1 << 16
_MOST_PER_BYTE = 1000
"""Texts that a stored byte may stand for; where there are more, nothing is stored of them."""


def main(url: str, seconds: int) -> None:
    """Look through a file; what is merely wrong in it raises, and is reported by its reader."""
    raw = _opened(url)
    _limit(seconds)
    with h5py.File(raw, "r") as file:
        _attributes(file)
        file.visititems_links(lambda _name, _link: None)
        file.visititems(lambda _name, item: _look(item))


def _opened(url: str) -> str | IO[bytes]:
    if "://" not in url:
        return url
    from atlasstore.files import urls  # what most files do without

    fs, path = urls.filesystem(url)
    return cast("IO[bytes]", fs.open(path, "rb"))


def _look(item: h5py.Group | h5py.Dataset) -> None:
    _attributes(item)
    if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
        return
    stored = item.id.get_storage_size()
    if item.chunks is not None:
        item.id.get_num_chunks()
    if item.dtype.kind == "O" and item.ndim == 1 and item.size <= _MOST_PER_BYTE * stored:
        for start in range(0, item.size, _TEXTS_AT_ONCE):
            item[start : start + _TEXTS_AT_ONCE]


def _attributes(item: h5py.Group | h5py.Dataset) -> None:
    for name in item.attrs:
        item.attrs[name]


def _limit(seconds: int) -> None:
    """Bound this process: processor time, and memory beyond what it holds now."""
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    until = int(sum(os.times()[:2])) + seconds
    bounds = {resource.RLIMIT_CPU: until}
    status = Path("/proc/self/statm")
    if status.exists():
        most = int(status.read_text().split()[0]) * resource.getpagesize() + _MEMORY_BYTES
        bounds[resource.RLIMIT_AS] = most
    for kind, bound in bounds.items():
        allowed = resource.getrlimit(kind)[1]  # may be lower (ulimit) and cannot be raised
        least = bound if allowed == resource.RLIM_INFINITY else min(bound, allowed)
        resource.setrlimit(kind, (least, least))


if __name__ == "__main__":
    main(sys.stdin.read(), int(sys.argv[1]))
