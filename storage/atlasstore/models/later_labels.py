"""Labels that came after training: columns of a model's obs, and maps of its cells, beside it.

::

    labels.json        which table is valid, and the sha256 of its metadata; null before the first
    labels/<name>/     that table (obs) and maps (obsm), the metadata consolidated in one file

``labels.json`` is replaced at once, so the store is whole at every moment; as it is there before
the first table is, a table without it means that it was lost.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import zarr
from zarr.errors import ZarrUserWarning

from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.json_text import parsed_json
from atlasstore.zarrio import arrays, outline
from atlasstore.zarrio import tables as table_io
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["label_names", "labels_url", "read_labels", "read_maps", "write_labels"]

_FOLDER, _POINTER = "labels", "labels.json"
_MAPS = "obsm"
_NAME, _DIGEST = "labels", "metadata_sha256"
_CHECKSUMS = "maps_crc32"
_TABLE = re.compile(r"[0-9a-f]{32}")


def labels_url(model: str) -> str | None:
    """Return where the valid table lies; None where there is none.

    Raises
    ------
    CorruptStoreError
        What names it is lost or damaged.
    """
    name, _ = _pointer(model)
    return None if name is None else urls.join(model, _FOLDER, name)


def read_labels(model: str) -> pd.DataFrame | None:
    """Return the valid table, a row per cell in the order of obs; None where there is none.

    Raises
    ------
    CorruptStoreError
        It is not what was written.
    """
    found = _valid(model)
    return None if found is None else table_io.read_table(found.group, "obs", url=found.url)


def label_names(model: str) -> list[str]:
    """Return the names of the columns of the valid table, unread; empty where there is none.

    Raises
    ------
    CorruptStoreError
        What names it, or its metadata, is not what was written.
    """
    found = _valid(model)
    return [] if found is None else outline.column_names(found.group, "obs", url=found.url)


def read_maps(model: str) -> dict[str, NDArray[Any]]:
    """Return the maps of the cells (UMAP, ...), name -> (N, dims); empty where there are none.

    Raises
    ------
    CorruptStoreError
        They are not what was written.
    """
    found = _valid(model)
    if found is None or _MAPS not in found.group:
        return {}
    maps = dict(table_io.read_element(found.group, _MAPS, url=found.url))
    recorded = found.group.attrs.get(_CHECKSUMS)  # earlier ones have none
    if recorded is not None and recorded != _checksums(maps):
        raise _damaged(urls.join(found.url, _MAPS))
    return maps


class _Place(NamedTuple):
    group: zarr.Group
    url: str


def _valid(model: str) -> _Place | None:
    """Open the group of the valid table; None where there is none."""
    name, digest = _pointer(model)
    if name is None:
        return None
    url = urls.join(model, _FOLDER, name)
    try:
        if digest is not None and digest != _digest(url):  # earlier ones have none
            raise _damaged(urls.join(url, ROOT))
        return _Place(urls.open_group(url), url)
    except NotAStoreError as error:
        raise CorruptStoreError(f"{url} cannot be read ({error}).") from error


def write_labels(model: str, labels: pd.DataFrame, maps: Mapping[str, NDArray[Any]]) -> None:
    """Make `labels` and `maps` the valid ones, and delete all others.

    Both have a row per cell, in the order of obs.
    """
    if not urls.exists(urls.join(model, _POINTER)):
        _point(model, None)
    name = uuid.uuid4().hex
    url = urls.join(model, _FOLDER, name)
    group = urls.create_group(url)
    table_io.write_table(group, "obs", labels)
    if maps:
        table_io.write_element(group, _MAPS, dict(maps))
        group.attrs[_CHECKSUMS] = _checksums(maps)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        zarr.consolidate_metadata(group.store)
    _point(model, name)
    for other in urls.list_names(urls.join(model, _FOLDER)):
        if other != name:
            urls.delete(urls.join(model, _FOLDER, other))


def _checksums(maps: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    return {name: arrays.checksum(values) for name, values in maps.items()}


def _point(model: str, name: str | None) -> None:
    pointer = {_NAME: name}
    if name is not None:
        pointer[_DIGEST] = _digest(urls.join(model, _FOLDER, name))
    content = json.dumps(pointer, indent=1) + "\n"
    urls.write_bytes(urls.join(model, _POINTER), content.encode())


def _pointer(model: str) -> tuple[str | None, str | None]:
    """Return name and digest of the valid table, as ``labels.json`` says."""
    place = urls.join(model, _POINTER)
    if not urls.exists(place):
        if urls.list_names(urls.join(model, _FOLDER)):
            raise _damaged(place)
        return None, None
    try:
        pointer = dict(parsed_json(urls.read_bytes(place)))
        name, digest = pointer[_NAME], pointer.get(_DIGEST)
        if name is None or _TABLE.fullmatch(name):
            return name, digest
    except (LookupError, ValueError, TypeError) as error:
        raise _damaged(place) from error
    raise _damaged(place)


def _digest(url: str) -> str:
    return hashlib.sha256(urls.read_bytes(urls.join(url, ROOT))).hexdigest()


def _damaged(place: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"{place} is lost or is not what was written: the labels of the model's cells cannot be "
        "read; copy the model again, or delete its folder labels and annotate it again."
    )
