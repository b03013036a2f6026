"""Atomic output: a store appears whole or not at all.

A local store is written to a hidden folder next to its final place and renamed at the end, which is
atomic. An object store has no rename: there the store is written in place, its finishing
attributes last (see `formats`), and deleted when the work fails.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlasstore.errors import StoreExistsError
from atlasstore.files import urls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["refuse_existing", "staged"]


def refuse_existing(url: str | Path) -> None:
    """Raise StoreExistsError when something exists at `url`."""
    if urls.exists(url):
        raise StoreExistsError(
            f"{url} exists already and nothing is overwritten; choose another output, or delete it "
            "first."
        )


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
