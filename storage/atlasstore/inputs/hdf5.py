"""HDF5 files at a path or URL, opened read-only with errors a person can act on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import zarr

from atlasstore.errors import CountsError
from atlasstore.files import urls
from atlasstore.files.hdf5 import check_hdf5
from atlasstore.files.text import DAMAGED, open_raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["open_hdf5", "readable"]

_UNREADABLE = (
    *DAMAGED,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    IndexError,
    OverflowError,
    MemoryError,  # of sizes that are declared, not stored
    zarr.errors.BaseZarrError,
)


def open_hdf5(url: str | Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    CountsError
        When there is no such file, it is cut or not HDF5, or `check_hdf5` refuses it.
    """
    raw = open_raw(url, error=CountsError)
    if urls.is_local(url):
        raw.close()
    try:
        file = h5py.File(urls.local_path(url) if urls.is_local(url) else raw, "r")
    except OSError as cause:
        raise CountsError(
            f"{url} is truncated or not an HDF5 file ({cause}); copy or download it again, or "
            "give a file that h5py opens."
        ) from cause
    with readable(str(url), what="groups"):
        check_hdf5(file, name=str(url), error=CountsError)
    return file


@contextmanager
def readable(name: str, *, what: str) -> Iterator[None]:
    """Turn whatever a damaged store raises into one sentence on `name` and `what`.

    Raises
    ------
    CountsError
        In place of the reader's own error, which stays its cause.
    """
    try:
        yield
    except CountsError:
        raise
    except _UNREADABLE as cause:
        raise CountsError(
            f"{name} has {what} that cannot be read ({type(cause).__name__}: {_first(cause)}); "
            "copy or download it again, or write it again."
        ) from cause


def _first(cause: Exception) -> str:
    text: Any = cause.args[0] if cause.args else ""
    return str(text).strip().split("\n")[0][:200]
