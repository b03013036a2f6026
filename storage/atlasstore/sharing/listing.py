"""Which stores lie below a path or URL.

A folder with a zarr root is a store and is not looked into; hidden folders are passed over.
Folders are listed side by side: on an object store each costs a request.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.cards.store_card import card_of, holds_text, kind_name
from atlasstore.errors import AtlasError, NotAStoreError, UserInputError
from atlasstore.files import remote, urls
from atlasstore.files.json_text import parsed_json
from atlasstore.lineage import lineage
from atlasstore.redaction import legible
from atlasstore.results.result import Result
from atlasstore.resume.ledger import is_begun
from atlasstore.store_kinds import kind_of
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.cards.card import Card

__all__ = ["StoreEntry", "list_stores"]

_AT_ONCE = 16
_ZARR = (ROOT, ".zgroup")
_JOB = ".partial"
"""End of the name of the folder beside a store that is being made."""


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """One store below a prefix."""

    name: str
    """Its path below the prefix; "." where the prefix is the store."""
    url: str
    kind: str
    """``atlas``, ``model``, the kind of a result ("denoised"), ``unfinished``, ``unreadable``."""
    shape: str
    """Such as "9 cells x 60 peaks"."""
    stored_bytes: int
    created: str
    """UTC, ISO 8601."""
    made_from: str
    """The model that it was made from, or the atlas; "" where none is recorded."""
    licence: str
    problem: str
    """One sentence where it cannot be read; "" otherwise."""
    card: Card | None

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def list_stores(prefix: str | Path) -> tuple[StoreEntry, ...]:
    """Return the stores at or below a prefix, by name; each is opened, none is read.

    Parameters
    ----------
    prefix
        Path or URL (``s3://``, ``gs://``, ``az://``, ``hf://``) of a folder, or of one store, which
        may also be at ``https://``.

    Examples
    --------
    >>> for store in list_stores("s3://lab-results/atlas"):  # doctest: +SKIP
    ...     print(store.name, store.kind, store.shape)

    Raises
    ------
    NotAStoreError
        Nothing is there.
    UserInputError
        It is on a server that lists no files.
    """
    base = str(prefix)
    if urls.exists(urls.join(base, ROOT)):
        only = _entry(base, ".")
        return () if only is None else (only,)
    if base.startswith(("http://", "https://")):
        raise UserInputError(
            f"{base} is no store that can be reached, and folders cannot be listed over https; "
            "give the address of a store, or the bucket as s3:// or gs://."
        )
    fs, path = urls.filesystem(base)
    with remote.outage_errors(base):
        if not fs.isdir(path):
            what = "is no folder" if fs.exists(path) else "does not exist"
            raise NotAStoreError(f"{base} {what}; give a folder's path or URL, or a store's.")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        names = sorted(_store_names(base, pool))
        found = pool.map(lambda name: _entry(urls.join(base, name), name), names)
        return tuple(one for one in found if one is not None)


def _store_names(base: str, pool: ThreadPoolExecutor) -> Iterator[str]:
    """Yield the paths, below `base`, of folders with a zarr root, and of stores being made."""
    level = [""]
    while level:
        listed = list(pool.map(lambda name: _folder(base, name), level))
        for name, (is_zarr, begun, _) in zip(level, listed, strict=True):
            yield from ([name] if is_zarr else begun)
        level = [name for _, _, below in listed for name in below]


def _folder(base: str, name: str) -> tuple[bool, list[str], list[str]]:
    """Return whether a folder is a zarr group, stores being made in it, folders to look into."""
    fs, path = urls.filesystem(urls.join(base, name) if name else base)
    fs.invalidate_cache()
    try:
        with remote.outage_errors(base):
            found = {_last(one): one["type"] for one in fs.ls(path, detail=True)}
    except FileNotFoundError:  # deleted meanwhile
        return False, [], []
    if any(root in found for root in _ZARR):
        return True, [], []
    folders = {last for last, kind in found.items() if kind == "directory" and last[:1] != "."}
    jobs = {last for last in folders if last.endswith(_JOB)}
    begun = {job.removesuffix(_JOB) for job in jobs if not job.endswith(f".append{_JOB}")}
    start = f"{name}/" if name else ""
    return False, [start + one for one in begun], [start + one for one in folders - jobs - begun]


def _last(found: dict[str, Any]) -> str:
    return str(found["name"]).rstrip("/").rpartition("/")[2]


def _entry(url: str, name: str) -> StoreEntry | None:
    """Describe one store; None for a zarr of others."""
    try:
        return _described(url, name) if _may_be_ours(url) else None
    except AtlasError as error:
        kind = "unfinished" if is_begun(url) else "unreadable"
        return _unreadable(url, name, kind, error)


def _may_be_ours(url: str) -> bool:
    """Whether a root names a format of ours, or is so damaged that nobody can tell."""
    try:
        root = parsed_json(urls.read_bytes(urls.join(url, ROOT)))
    except NotAStoreError:
        return is_begun(url)
    except ValueError:
        return True
    attributes = root.get("attributes", {}) if isinstance(root, dict) else {}
    return not isinstance(attributes, dict) or "format" in attributes


def _described(url: str, name: str) -> StoreEntry:
    kind, info = kind_of(url)
    store = kind.open(url)
    made_from = next((o.url for o in lineage(info.provenance) if o.kind in ("model", "atlas")), "")
    card = card_of(url)
    return StoreEntry(
        name=legible(name),
        url=url,
        kind=store.kind if isinstance(store, Result) else kind_name(store, info.format).lower(),
        shape=holds_text(kind.shape(store)),
        stored_bytes=urls.stored_bytes(url),
        created=str(info.provenance.get("created", "")),
        made_from=made_from,
        licence=card.said.licence,
        problem="",
        card=card,
    )


def _unreadable(url: str, name: str, kind: str, error: AtlasError) -> StoreEntry:
    return StoreEntry(
        name=legible(name),
        url=url,
        kind=kind,
        shape="",
        stored_bytes=0,
        created="",
        made_from="",
        licence="",
        problem=str(error),
        card=None,
    )
