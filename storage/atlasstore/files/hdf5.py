"""What an HDF5 file may hold to be read here: only bytes of its own, and as many as it declares.

HDF5 can point to other files (external links, external storage, virtual datasets), so that a file
from elsewhere would read what its reader may read; and it can declare any size and store nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import lru_cache
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import h5py

from atlasstore.files import hdf5_walk, remote, urls
from atlasstore.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.errors import UserInputError

__all__ = ["check_hdf5", "check_whole"]

_BYTES_PER_SECOND = 50_000_000
_ABSENT_BYTES = 256 << 20
"""What a file may declare in all without storing it: harmless, and some writers leave zeros out."""


def check_whole(url: str | Path, *, error: type[UserInputError], least_s: int = 5) -> None:
    """Refuse a file, at a path or URL, that the HDF5 library loops on for ever, or crashes on.

    Another process looks through it first (`hdf5_walk`); a file is looked through once.

    Parameters
    ----------
    url
        Of the file.
    error
        The class of errors.
    least_s
        Seconds of processor time that it may take at least; a large file may take more.

    Raises
    ------
    UserInputError
        Of the class `error`.
    """
    place, size, version = _identity(url)
    seconds = least_s + size // _BYTES_PER_SECOND
    if not _is_walked(place, version, seconds):
        raise error(
            f"{shown(url)} cannot be read: HDF5 crashes on it, or takes longer than {seconds} s of "
            "processor time to look through it; the file is damaged: copy or download it again."
        )


def _identity(url: str | Path) -> tuple[str, int, str]:
    """Return where a file is, its bytes, and what is another text when the file is another one."""
    if urls.is_local(url):
        path = urls.local_path(url).absolute()
        found = path.stat()
        return str(path), found.st_size, f"{found.st_size} {found.st_mtime_ns}"
    fs, path_there = urls.filesystem(url)
    with remote.outage_errors(url):
        info = fs.info(path_there)
    return str(url), int(info.get("size") or 0), json.dumps(info, default=str, sort_keys=True)


@lru_cache(maxsize=4096)
def _is_walked(place: str, _version: str, seconds: int) -> bool:
    ended = subprocess.run(
        [sys.executable, "-P", hdf5_walk.__file__, str(seconds)],
        input=place.encode(),
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return ended.returncode >= 0  # what is merely wrong is reported by its reader


def check_hdf5(file: h5py.File, *, name: str, error: type[UserInputError]) -> None:
    """Refuse a file that reaches outside of itself or declares far more than it stores.

    Raises
    ------
    UserInputError
        Of the class `error`; names the link or dataset.
    """
    links: list[Any] = []
    datasets: list[Any] = []
    file.visititems_links(lambda path, link: _note(links, path, link, h5py.ExternalLink))
    file.visititems(lambda path, item: _note(datasets, item, item, h5py.Dataset))
    linked = ((path, "a link to another file") for path in links)
    for path, fault in chain(linked, _faults(datasets)):
        raise error(
            f"{name}: {path.lstrip('/')} is {fault}; give a file that holds all of its data itself."
        )


def _note(noted: list[Any], value: object, item: object, kind: type) -> None:
    if isinstance(item, kind):
        noted.append(value)


def _faults(datasets: list[h5py.Dataset]) -> Iterator[tuple[str, str]]:
    absent = 0
    for dataset in datasets:
        if dataset.external:
            yield dataset.name, "stored in another file"
        elif dataset.is_virtual:
            yield dataset.name, "made of parts of other files"
        elif not _is_stored(dataset):
            absent += dataset.nbytes
            if absent > _ABSENT_BYTES:
                yield dataset.name, f"declared {dataset.nbytes / 1e9:,.1f} GB large but not stored"


def _is_stored(dataset: h5py.Dataset) -> bool:
    """Whether at least half of a dataset's chunks are there; absent ones read as the fill value."""
    if dataset.chunks is None:
        return bool(dataset.id.get_storage_size() >= dataset.nbytes)
    cut = zip(dataset.shape, dataset.chunks, strict=True)
    return bool(dataset.id.get_num_chunks() * 2 >= prod(-(-size // piece) for size, piece in cut))
