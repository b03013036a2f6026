"""Groups of arrays that only one job reads, between its stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zarr

from atlasstore.files import urls
from atlasstore.zarrio import arrays
from atlasstore.zarrio.overlay import ROOT, WrittenOver

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_scratch", "scratch_group"]


def scratch_group(url: str | Path) -> zarr.Group:
    """Create a zarr group over what a killed run of the same job, or an equal job, has left."""
    store = WrittenOver(urls.zarr_store(url, read_only=False))
    return zarr.create_group(store, zarr_format=3)


def check_scratch(url: str) -> None:
    """Check at the end of a job that every array which its stages filled still has all pieces.

    A piece that is lost between two runs of a job reads as the fill value, and has done so in every
    stage since.

    Parameters
    ----------
    url
        The job's scratch folder, of groups that `scratch_group` made and other files.

    Raises
    ------
    CorruptStoreError
        A piece is missing.
    """
    for name in urls.list_names(url):
        group = urls.join(url, name)
        if urls.exists(urls.join(group, ROOT)):
            arrays.check_group(urls.open_group(group), url=group)
