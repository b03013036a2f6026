"""The files that make up a store: by listing it, or, where a server lists nothing, by its metadata.

Of a model the newest checkpoint and the valid labels count; what training has left beside them is
no part of a copy. So a model can be copied while it is being trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import zarr

from atlasstore.cards.store_card import CARD
from atlasstore.errors import AccessDeniedError, CorruptStoreError, NotAStoreError
from atlasstore.files import remote, urls
from atlasstore.models.model_store import ModelStore
from atlasstore.store_kinds import kind_of
from atlasstore.zarrio import arrays
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Contents", "contents_of"]

_POINTERS = ("labels.json", "latest.json", ROOT)
"""What says which other files are valid; written last, in this order."""
_SAFE = re.compile(r"(?!.*(^|/)\.{0,2}(/|$))[^\\\x00-\x1f]+")
"""A path below the store: a server may name anything."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A store's files, as they were at one moment."""

    format: str
    names: tuple[str, ...]
    """Paths below the store, sorted, but for `pointers`."""
    pointers: Mapping[str, bytes]
    """The files to write last, in this order: the store's root at the end."""


def contents_of(url: str) -> Contents:
    """Return what a copy of the store at `url` consists of.

    Raises
    ------
    NotAStoreError, FormatVersionError
        As `atlasstore.open`.
    CorruptStoreError
        A file has no name that may stand in a store.
    """
    kind, info = kind_of(url)
    pointers = {name: found for name in _POINTERS if (found := _read(url, name)) is not None}
    store = kind.open(url)
    names = _expected(url, store) if urls.lists_nothing(url) else _listed(url)
    if isinstance(store, ModelStore):
        names = _of_model(names, store)
    return Contents(info.format, tuple(sorted(set(names) - set(pointers))), pointers)


def _read(url: str, name: str) -> bytes | None:
    """Return a file that may be absent; a bucket that nobody may list denies those that are."""
    try:
        return urls.read_bytes(urls.join(url, name))
    except NotAStoreError:
        return None
    except AccessDeniedError:
        if not urls.lists_nothing(url) or name == ROOT:
            raise
        return None


def _listed(url: str) -> list[str]:
    fs, root = urls.filesystem(url)
    fs.invalidate_cache()
    with remote.outage_errors(url):
        found = fs.find(root)
    start = f"{root.rstrip('/')}/"
    names = [str(name).removeprefix(start) for name in found]
    for name in names:
        if not _SAFE.fullmatch(name):
            raise CorruptStoreError(
                f"{url} lists a file {name[:80]!r}, which cannot be part of a store; copy it from "
                "elsewhere."
            )
    return [name for name in names if not name.endswith(".partial")]


def _of_model(names: Iterable[str], model: ModelStore) -> list[str]:
    """Leave out checkpoints before the newest, and labels that were replaced."""
    labels = model.labels_url()
    valid = {
        "checkpoints": model.latest_name(),
        "labels": None if labels is None else labels.rpartition("/")[2],
    }
    parts = ((name, name.split("/")) for name in names)
    return [name for name, part in parts if part[0] not in valid or part[1] == valid[part[0]]]


def _expected(url: str, store: Any) -> Iterator[str]:
    """Yield the files that the metadata speaks of."""
    yield from _of_group(urls.open_group(url))
    if _read(url, CARD) is not None:
        yield CARD
    if isinstance(store, ModelStore):
        yield from _of_checkpoint(url, store)


def _of_group(group: zarr.Group) -> Iterator[str]:
    yield _below(group.path, ROOT)
    for _, member in group.members(max_depth=None):
        if isinstance(member, zarr.Array):
            yield from _of_array(member)
        else:
            yield _below(member.path, ROOT)


def _of_array(array: zarr.Array[Any]) -> Iterator[str]:
    """Yield the metadata and every stored piece of an array."""
    yield _below(array.path, ROOT)
    yield from arrays.piece_names(array)


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _of_checkpoint(url: str, model: ModelStore) -> Iterator[str]:
    """Yield the files of a model's newest checkpoint, of its metrics and its labels."""
    if (labels := model.labels_url()) is not None:
        name = f"labels/{labels.partition('?')[0].rpartition('/')[2]}"
        yield from (f"{name}/{file}" for file in _of_group(urls.open_group(labels)))
    if (checkpoint := model.latest()) is None:
        return
    folder = f"checkpoints/{model.latest_name()}"
    if _read(url, "metrics.jsonl") is not None:
        yield "metrics.jsonl"
    yield from (f"{folder}/{file}" for file in ("manifest.json", ROOT, *checkpoint.checksums))
    group = urls.open_group(checkpoint.url)
    for table in checkpoint.tables:
        yield f"{folder}/{table.rpartition('/')[0]}/{ROOT}"
        array = arrays.member(group, table, url=checkpoint.url)
        yield from (f"{folder}/{file}" for file in _of_array(array))
