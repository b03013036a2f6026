"""Groups of arrays that only one job reads, between its stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zarr

from atlasstore.files import urls
from atlasstore.zarrio.overlay import WrittenOver

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["scratch_group"]


def scratch_group(url: str | Path) -> zarr.Group:
    """Create a zarr group over what a killed run of the same job, or an equal job, has left."""
    store = WrittenOver(urls.zarr_store(url, read_only=False))
    return zarr.create_group(store, zarr_format=3)
