"""Atomic output: a store appears whole or not at all.

A local store is written to a hidden folder next to its final place and renamed at the end, which is
atomic. An object store has no rename: there the store is written in place, its finishing
attributes last (see `formats`), and deleted when the work fails.
"""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.files import remote, urls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["refuse_existing", "staged"]


def refuse_existing(url: str | Path) -> None:
    """Refuse an output where something exists, or that cannot be made there.

    Raises
    ------
    StoreExistsError
        When something exists at `url`.
    UserInputError
        When a local one would lie below a file.
    AccessDeniedError
        When its folder may not be written to.
    """
    if urls.is_local(url):
        _check_folder(urls.local_path(url).absolute(), url)
    if urls.exists(url):
        raise StoreExistsError(
            f"{url} exists already and nothing is overwritten; choose another output, or delete it "
            "first."
        )


def _check_folder(path: Path, url: str | Path) -> None:
    """Check the nearest folder above a path that is there: what lacks below it is made."""
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir():
        raise UserInputError(f"{url} would lie below {above}, which is a file; name another place.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise remote.denied(above, PermissionError("it may not be written to"))


@contextmanager
def staged(url: str | Path) -> Iterator[str]:
    """Yield the URL to write a store to; it is at `url` when the block ends without an error.

    On any exception, also an interrupt, what was written is deleted.

    Raises
    ------
    StoreExistsError
        When something exists at `url`, before or after the work.
    """
    refuse_existing(url)
    target = _partial(urls.local_path(url)) if urls.is_local(url) else None
    place = str(url if target is None else target)
    try:
        yield place
        if target is not None:
            refuse_existing(url)
            target.rename(urls.local_path(url))
    except BaseException:
        urls.delete(place)
        raise


def _partial(final: Path) -> Path:
    final.parent.mkdir(parents=True, exist_ok=True)
    return final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
