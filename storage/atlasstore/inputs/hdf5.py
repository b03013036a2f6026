"""HDF5 files at a path or URL, opened read-only with errors a person can act on."""

from __future__ import annotations

import importlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import h5py

from atlasstore.errors import AtlasError, CountsError, MissingExtraError
from atlasstore.files import remote, urls
from atlasstore.files.hdf5 import check_whole
from atlasstore.files.text import open_raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["open_hdf5", "readable"]


def open_hdf5(url: str | Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises
    ------
    CountsError
        When there is no such file, or it is cut or not HDF5.
    """
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")  # has the filters that HDF5 itself lacks
    raw = open_raw(url, error=CountsError)
    if urls.is_local(url):
        raw.close()
    check_whole(url, error=CountsError)
    try:
        return h5py.File(urls.local_path(url) if urls.is_local(url) else raw, "r")
    except OSError as cause:
        raise CountsError(
            f"{url} is truncated or not an HDF5 file ({cause}); copy or download it again, or "
            "give a file that h5py opens."
        ) from cause


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
    except AtlasError:
        raise
    except PermissionError as cause:
        raise remote.denied(name, cause) from cause
    except MemoryError as cause:
        raise CountsError(
            f"{name} has {what} that takes more memory than there is ({_first(cause)}); see "
            "whether the file is whole, or use a larger machine."
        ) from cause
    except Exception as cause:  # of h5py, zarr, anndata, pandas and the codecs below them
        _say_filter(cause, name)
        raise CountsError(
            f"{name} has {what} that cannot be read ({type(cause).__name__}: {_first(cause)}); "
            "copy or download it again, or write it again."
        ) from cause


def _say_filter(cause: Exception, name: str) -> None:
    """Raise MissingExtraError when HDF5 lacks the filter that a file was compressed with."""
    said = str(cause).lower()
    if isinstance(cause, OSError) and ("plugin" in said or "required filter" in said):
        raise MissingExtraError(
            f"{name} is compressed with a filter (zstd, blosc, lz4, ...) that HDF5 reads by an "
            "optional package; install it with: pip install hdf5plugin."
        ) from cause


def _first(cause: Exception) -> str:
    text: Any = cause.args[0] if cause.args else ""
    return str(text).strip().split("\n")[0][:200]
