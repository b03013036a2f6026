"""What the root of a store declares, checked before anything is sized by it.

The root's ``zarr.json`` is the one file without a codec, so without a checksum of its own: its
sha256 is kept in it, as an attribute. It lists the metadata of everything below it too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    import zarr

__all__ = [
    "DIGEST",
    "check_atlas",
    "check_model",
    "check_number",
    "check_root",
    "damaged",
    "digest",
    "n_rows",
]

DIGEST = "metadata_sha256"
"""The attribute that holds `digest`."""

_BOUNDS: Mapping[str, tuple[int, int]] = {
    "format_version": (1, 1_000_000),
    "n_peaks": (1, 1 << 40),
    "n_cells": (1, 1 << 40),
    "window_bp": (1, 1 << 30),
    "flank_bp": (0, 1 << 30),
    "block_cells": (1, 1 << 16),
}
_MOST_BLOCKS = 1 << 22
_SHOWN = 40
"""Characters of a value that a message shows."""


def digest(root: Mapping[str, Any]) -> str:
    """Return the sha256 of root metadata as read from JSON, but for the digest itself."""
    attributes = {name: value for name, value in root["attributes"].items() if name != DIGEST}
    content = json.dumps({**root, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def check_root(url: str) -> None:
    """Raise CorruptStoreError where the root metadata at `url` is not what was stamped."""
    root = json.loads(urls.read_bytes(urls.join(url, ROOT)))
    if root["attributes"].get(DIGEST) != digest(root):
        raise damaged(url, f"{ROOT} does not hold what was written")


def check_atlas(group: zarr.Group | Mapping[str, Any], attrs: Mapping[str, Any], url: str) -> None:
    """Check the sizes of an atlas against each other and against its tables' shapes.

    Raises
    ------
    CorruptStoreError
        A size is no whole number in its bounds, or does not fit the others.
    """
    for name in ("n_peaks", "n_cells", "window_bp", "flank_bp", "block_cells"):
        check_number(attrs, name, url)
    _check_positives(attrs, url)
    _check_rows(group, str(attrs.get("obs", "obs")), attrs["n_cells"], url)
    _check_rows(group, "var", attrs["n_peaks"], url)


def check_model(group: zarr.Group | Mapping[str, Any], attrs: Mapping[str, Any], url: str) -> None:
    """Check the sizes of a model against each other and against its table's shape.

    Raises
    ------
    CorruptStoreError
        A size is no whole number in its bounds, or does not fit the others.
    """
    for name in ("n_cells", "block_cells"):
        check_number(attrs, name, url)
    if not isinstance(attrs.get("config"), dict) or not isinstance(attrs.get("batches"), list):
        raise damaged(url, "its config or batches are absent")
    if attrs["n_cells"] > attrs["block_cells"] * _MOST_BLOCKS:
        raise damaged(url, f"{attrs['n_cells']:,} cells in blocks of {attrs['block_cells']:,}")
    _check_rows(group, "obs", attrs["n_cells"], url)


def check_number(attrs: Mapping[str, Any], name: str, url: str) -> None:
    """Raise CorruptStoreError unless an attribute is a whole number in its bounds."""
    value, (low, high) = attrs.get(name), _BOUNDS[name]
    if type(value) is not int or not low <= value <= high:
        raise damaged(url, f"{name} is {str(value)[:_SHOWN]}, not {low} to {high:,}")


def _check_rows(group: zarr.Group | Mapping[str, Any], table: str, expected: int, url: str) -> None:
    if not isinstance(group, Mapping) and (found := n_rows(group, table, url=url)) != expected:
        raise damaged(url, f"{table} has {found:,} rows where {expected:,} are expected")


def n_rows(group: zarr.Group, name: str, *, url: str) -> int:
    """Return how many rows the table `name` has, without reading it.

    Raises
    ------
    CorruptStoreError
        When there is no such table.
    """
    try:
        table = group[name]
        index = group[f"{name}/{table.attrs['_index']}"]
        return int(index.shape[0])  # type: ignore[union-attr]  # a group has none: damaged
    except (LookupError, TypeError, AttributeError) as error:
        raise damaged(url, f"table {name} is absent") from error


def _check_positives(attrs: Mapping[str, Any], url: str) -> None:
    """Raise unless an atlas lists the positives of each block and part that its sizes make."""
    n_cells, size = attrs["n_cells"], attrs["block_cells"]
    appends = attrs.get("appends", [0, n_cells])
    if not _are_counts(appends) or appends != sorted({0, *appends, n_cells}):
        raise damaged(url, f"appends do not rise from 0 to {n_cells:,}")
    n_blocks = -(-n_cells // size)
    expected = {"block_positives": n_blocks}
    if "appends" in attrs:  # a lot that ends within a block ends a part of it
        expected["part_positives"] = n_blocks + sum(edge % size > 0 for edge in appends[1:-1])
    for name, length in expected.items():
        counts: Any = attrs.get(name)
        if not _are_counts(counts) or len(counts) != length:
            raise damaged(url, f"{name} does not list {length:,} counts for {n_cells:,} cells")


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)


def damaged(url: str, what: str) -> CorruptStoreError:
    """Return the error of a store whose metadata is not what was written."""
    return CorruptStoreError(
        f"{url}: {what}; the store is damaged: make it again or copy it again."
    )
