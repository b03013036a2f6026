"""The labels of a model's cells that came after training: one table, which a pointer names.

A table is written whole before the pointer speaks of it, with the sha256 of its metadata, so that a
model is whole at every moment and its damage is seen. A pointer that is lost is not missed as long
as there is one finished table.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import zarr
from zarr.errors import ZarrUserWarning

from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.zarrio import tables
from atlasstore.zarrio.metadata import damaged
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["labels_url", "read_labels", "with_columns", "write_labels"]

_FOLDER, _POINTER = "labels", "labels.json"
_NAME = re.compile(r"[0-9a-f]{32}")


def labels_url(model: str) -> str | None:
    """Return where the labels of the model at a URL lie; None where there are none.

    Raises
    ------
    CorruptStoreError
        When the pointer cannot be read, is lost, or its table is another.
    """
    place = urls.join(model, _POINTER)
    if not urls.exists(place):
        return _only_finished(model)
    pointer = _read_pointer(place)
    found = urls.join(model, _FOLDER, pointer["labels"])
    recorded = pointer.get("metadata_sha256")  # earlier pointers lack it
    if recorded is not None and recorded != _metadata_sha256(found):
        raise damaged(found, f"its {ROOT} is not the one that {_POINTER} speaks of")
    return found


def read_labels(model: str) -> pd.DataFrame | None:
    """Return the labels, a row per cell in the order of obs; None where there are none."""
    url = labels_url(model)
    if url is None:
        return None
    try:
        return tables.read_table(urls.open_group(url), "obs", url=url)
    except NotAStoreError as error:
        raise damaged(url, "labels are absent") from error


def write_labels(model: str, labels: pd.DataFrame) -> None:
    """Add columns to the labels, or replace some."""
    before = read_labels(model)
    if before is not None:
        labels = with_columns(before, labels)
    name = uuid.uuid4().hex
    url = urls.join(model, _FOLDER, name)
    group = urls.create_group(url)
    tables.write_table(group, "obs", labels)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Consolidated metadata", ZarrUserWarning)
        zarr.consolidate_metadata(group.store)
    pointer = {"labels": name, "metadata_sha256": _metadata_sha256(url)}
    urls.write_bytes(urls.join(model, _POINTER), json.dumps(pointer, indent=1).encode() + b"\n")
    for other in urls.list_names(urls.join(model, _FOLDER)):
        if other != name:
            urls.delete(urls.join(model, _FOLDER, other))


def with_columns(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the columns of another that has the same rows, which win."""
    return table.assign(**{str(name): more[name].set_axis(table.index, axis=0) for name in more})


def _only_finished(model: str) -> str | None:
    """Return the one table that was written whole, where the pointer is lost."""
    folder = urls.join(model, _FOLDER)
    found = [urls.join(folder, name) for name in urls.list_names(folder)]
    finished = [url for url in found if _is_finished(url)]
    if len(finished) > 1:
        raise damaged(
            model, f"{_POINTER} is absent, and {len(finished)} tables of labels are there"
        )
    return finished[0] if finished else None


def _is_finished(url: str) -> bool:
    try:
        return urls.open_group(url).metadata.consolidated_metadata is not None
    except (NotAStoreError, CorruptStoreError):
        return False


def _read_pointer(place: str) -> dict[str, Any]:
    try:
        pointer = json.loads(urls.read_bytes(place))
        if _NAME.fullmatch(pointer["labels"]):
            return dict(pointer)
    except (ValueError, TypeError, LookupError, RecursionError, NotAStoreError) as error:
        raise damaged(place, f"it cannot be read ({error})") from error
    raise damaged(place, "it names no labels")


def _metadata_sha256(url: str) -> str:
    try:
        return hashlib.sha256(urls.read_bytes(urls.join(url, ROOT))).hexdigest()
    except NotAStoreError as error:
        raise damaged(url, "labels are absent") from error
