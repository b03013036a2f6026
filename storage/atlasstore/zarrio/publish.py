"""Stores that many write and that appear whole: everything but the root, then the root.

Nobody can open a store without its root metadata. Every step may be done twice, and by two equal
jobs at once: what is there is written over with the same values.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import zarr
from zarr.errors import ZarrUserWarning

from atlasstore.errors import StoreExistsError
from atlasstore.files import urls
from atlasstore.files.create import create_bytes
from atlasstore.zarrio import arrays
from atlasstore.zarrio import tables as table_io
from atlasstore.zarrio.overlay import ROOT, HeldRoot, WrittenOver

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["publish_root", "refuse_published", "rootless"]


@contextmanager
def rootless(place: str | Path) -> Iterator[zarr.Group]:
    """Yield a group to write into, over what is there; its own metadata is kept back."""
    over = WrittenOver(urls.zarr_store(place, read_only=False), holds_metadata=True)
    yield zarr.create_group(HeldRoot(over), zarr_format=3)
    over.flush()


def refuse_published(place: str | Path) -> None:
    """Raise StoreExistsError when the store at `place` has a root already.

    On a local disk it is in its job's own folder, and anything there is the job's.
    """
    if not urls.is_local(place) and urls.exists(urls.join(place, ROOT)):
        raise _taken(place)


def publish_root(
    place: str | Path, kind: str, provenance: Mapping[str, Any], attributes: Mapping[str, Any]
) -> None:
    """Write the root metadata, where there is none yet.

    Parameters
    ----------
    place
        The store, all else of it written.
    kind
        Its format, as in `formats`.
    provenance
        What `formats.provenance` returned.
    attributes
        Of the root.

    Raises
    ------
    StoreExistsError
        It was published before.
    CorruptStoreError
        A part of an array was not written.
    """
    store = HeldRoot(urls.zarr_store(place, read_only=False))
    with warnings.catch_warnings():  # a model's checkpoints are folders of their own
        warnings.filterwarnings("ignore", "Object at", ZarrUserWarning)
        root = zarr.create_group(store, zarr_format=3, attributes=dict(attributes))
        arrays.check_group(root, url=str(place))
        table_io.finish(store, kind, provenance)
    if store.root is None:
        raise RuntimeError("the root metadata was not written")
    root_url = urls.join(place, ROOT)
    if urls.is_local(place):  # in its job's own folder, which is renamed
        urls.write_bytes(root_url, store.root.to_bytes())
    elif not create_bytes(root_url, store.root.to_bytes()):
        raise _taken(place)


def _taken(place: str | Path) -> StoreExistsError:
    return StoreExistsError(f"{place} was published meanwhile; nothing is overwritten.")
