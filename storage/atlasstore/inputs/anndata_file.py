"""The group of an AnnData or MuData, in HDF5 or zarr, opened with errors a person can act on.

Nothing of it is read here, so neither anndata nor pandas is imported.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import zarr

from atlasstore.errors import CountsError
from atlasstore.files import urls
from atlasstore.inputs.declared import refuse_links
from atlasstore.inputs.hdf5 import open_hdf5, readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["anndata_group", "modality_of", "open_group"]

_MODALITIES = ("atac", "peaks", "chromatin accessibility")


def open_group(url: str | Path) -> tuple[Any, Callable[[], None]]:
    """Return the HDF5 or zarr group of an AnnData and what closes it."""
    if urls.path_end(url).endswith((".h5ad", ".h5mu", ".h5", ".hdf5")):
        file = open_hdf5(url)
        return file, file.close
    with readable(str(url), what="a zarr group"):
        group = zarr.open_group(urls.zarr_store(url, read_only=True), mode="r")
    return group, lambda: None


@contextmanager
def anndata_group(
    url: str | Path, *, name: str, modalities: tuple[str, ...] = _MODALITIES
) -> Iterator[Any]:
    """Yield the group of an AnnData; of a MuData, that of its modality with the peaks.

    Parameters
    ----------
    url
        Path or URL.
    name
        Of the input, for messages.
    modalities
        What the modality wanted may be called, in lower case; the first is named in messages.

    Raises
    ------
    CountsError
        When it is missing, cut, or no AnnData.
    """
    group, close = open_group(url)
    try:
        with readable(name, what="a root group"):
            found = modality_of(group, name, modalities)
            _check_parts(found, name)
        yield found
    finally:
        close()


def modality_of(group: Any, name: str, modalities: tuple[str, ...] = _MODALITIES) -> Any:
    """Return the AnnData in a group: itself, or the modality of a MuData that is wanted."""
    with readable(name, what="its parts"):
        refuse_links(group, name=name)
        if "mod" in group and "X" not in group:
            refuse_links(group["mod"], name=name)
            found = [one for one in group["mod"] if one.lower() in modalities]
            names = found or list(group["mod"])
            if len(names) != 1:
                raise CountsError(
                    f"{name} has the modalities {', '.join(names)}, of which none or several may "
                    f"be the one wanted; name it {modalities[0]}."
                )
            group = group["mod"][names[0]]
            refuse_links(group, name=name)
    return group


def _check_parts(group: Any, name: str) -> None:
    missing = [part for part in ("obs", "var") if part not in group]
    if missing:
        raise CountsError(
            f"{name} has no {', '.join(missing)}, so it is not an AnnData with counts; give one "
            "with raw counts in X (cells x peaks)."
        )
