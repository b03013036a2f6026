"""Copying a store between any two places, file by file: resumed, checked, published by its root.

Files are streamed, several at a time; each is read back and compared before it counts as copied. On
a local disk the copy is made in the job's own folder and renamed; on an object store its root is
written last, and only where there is none. Killed at any moment, the same command goes on with the
files that are missing (`resume.ledger`).
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasstore.errors import AtlasError, CorruptStoreError, StoreExistsError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.create import create_bytes
from atlasstore.models.model_store import ModelStore
from atlasstore.progress import shown
from atlasstore.redaction import shown as without_secrets
from atlasstore.resume.executors import ThreadExecutor
from atlasstore.resume.ledger import Ledger, refuse_taken
from atlasstore.resume.units import Ranges, Stage, run_units
from atlasstore.sharing.contents import Contents, contents_of
from atlasstore.sharing.file_copy import copied, digest_of
from atlasstore.sharing.hub import HUB, commit_store, pinned
from atlasstore.store_kinds import kind_of
from atlasstore.zarrio import formats
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Unit

__all__ = ["CopyReport", "copy_store", "pull_model", "push_model"]

_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied."""

    source: str
    out: str
    format: str
    n_files: int
    stored_bytes: int

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def copy_store(
    source: str | Path,
    *,
    out: str | Path,
    verify: bool = False,
    on_event: Subscriber | None = None,
) -> CopyReport:
    """Copy an atlas, model or result; run it again to go on where it stopped.

    Parameters
    ----------
    source, out
        Paths or URLs. A source may be at ``https://`` or ``hf://``; of a model its newest
        checkpoint is copied, also while it is being trained.
    verify
        Also check the content by the store's own checksums, as `inspect_store` does.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> copy_store("s3://lab/denoised.zarr", out="denoised.zarr")  # doctest: +SKIP

    Raises
    ------
    StoreExistsError
        Something exists at `out`.
    NotAStoreError, FormatVersionError
        There is no finished store at `source`.
    UserInputError
        Another copy is under way there, or the source is another one than when it began.
    CorruptStoreError
        When `verify` finds damage.
    AtlasError
        A file arrived with other bytes than were read.
    """
    place, target = str(source).rstrip("/"), str(out).rstrip("/")
    _check_places(place, target)
    found = contents_of(place)
    with shown(on_event) as subscriber:
        if verify and (urls.is_local(place) or not urls.is_local(target)):
            _verify(place, subscriber)
            verify = False
        with _ledger(place, target, found) as ledger:
            if ledger.has_begun:
                subscriber(Notice(f"Resuming {ledger.url}: files that have arrived stay."))
            _copy_files(place, found, ledger, subscriber)
            _write_pointers(found, ledger)
            if verify:  # what has arrived, before anybody sees it
                _verify_arrived(place, ledger, subscriber)
            ledger.publish()
    return CopyReport(place, target, found.format, _n_files(found), urls.stored_bytes(target))


def push_model(
    model: str | Path,
    *,
    out: str | Path,
    private: bool = True,
    on_event: Subscriber | None = None,
) -> CopyReport:
    """Check a model and copy it to where others find it.

    Parameters
    ----------
    model
        Path or URL of a model.
    out
        Where: any URL that can be written, or a repository of Hugging Face,
        ``hf://owner/name[@branch]``, which takes it as one commit.
    private
        Whether a new repository of Hugging Face is its owner's alone.
    on_event
        As for `copy_store`.

    Examples
    --------
    >>> push_model("model.zarr", out="hf://lab/worm-atac")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        It is no model, or a store exists at `out`.
    CorruptStoreError
        The model is damaged.
    MissingExtraError
        Hugging Face's package is not installed.
    AtlasError
        A file arrived with other bytes than were sent.
    """
    place, target = str(model).rstrip("/"), str(out).rstrip("/")
    _check_model(place)
    if not target.startswith(HUB):
        return copy_store(place, out=target, verify=True, on_event=on_event)
    with shown(on_event) as subscriber:
        _verify(place, subscriber)
        there = commit_store(place, target, is_private=private, on_event=subscriber)
    found = contents_of(there)
    return CopyReport(place, there, found.format, _n_files(found), urls.stored_bytes(there))


def pull_model(
    source: str | Path, *, out: str | Path, on_event: Subscriber | None = None
) -> CopyReport:
    """Copy a model from where it was pushed to and check it; it is there whole, or not at all.

    Parameters
    ----------
    source
        URL of a model: of a bucket, ``https://``, or ``hf://owner/name[@revision]``.
    out
        Path or URL of the copy.
    on_event
        As for `copy_store`.

    Examples
    --------
    >>> pull_model("hf://lab/worm-atac", out="model.zarr")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        It is no model, or something exists at `out`.
    CorruptStoreError
        The model is damaged.
    AtlasError
        A file arrived with other bytes than were read.
    """
    place = str(source).rstrip("/")
    if place.startswith(HUB):
        place = pinned(place)
    _check_model(place)
    return copy_store(place, out=out, verify=True, on_event=on_event)


def _check_places(source: str, out: str) -> None:
    if urls.absolute(source) == urls.absolute(out):
        raise UserInputError(f"{out} is the store itself; name another place for the copy.")
    if out.startswith((HUB, "http://", "https://")):
        raise UserInputError(
            f"{out} cannot be written file by file; copy to a path or bucket, or push a model to "
            "hf://owner/name."
        )
    refuse_taken(out)
    if urls.exists(urls.join(out, ROOT)):
        raise StoreExistsError(
            f"{out} exists already and nothing is overwritten; choose another place, or delete it "
            "first."
        )


def _check_model(url: str) -> None:
    _, info = kind_of(url)
    if info.format != formats.MODEL:
        raise UserInputError(f"{url} is no model; copy takes stores of any kind.")
    ModelStore.open(url).newest()


def _verify(url: str, on_event: Subscriber) -> None:
    kind, _ = kind_of(url)
    kind.verify(kind.open(url), on_event)


def _verify_arrived(source: str, ledger: Ledger, on_event: Subscriber) -> None:
    try:
        _verify(ledger.store, on_event)
    except CorruptStoreError as error:
        ledger.discard()
        raise CorruptStoreError(
            f"{source} is damaged, and nothing was kept of it: {error}"
        ) from error


def _n_files(found: Contents) -> int:
    return len(found.names) + len(found.pointers)


def _ledger(source: str, out: str, found: Contents) -> Ledger:
    """Open the copy's job: of this store as it is now, and no other."""
    digest = hashlib.sha256(b"\0".join([*found.pointers.values(), *map(str.encode, found.names)]))
    config = {
        "verb": "copy",
        "source": without_secrets(urls.absolute(source)),
        "contents_sha256": digest.hexdigest(),
    }
    return Ledger.open(out, config=config, inputs=[])


def _copy_files(source: str, found: Contents, ledger: Ledger, on_event: Subscriber) -> None:
    """Copy every file that has no receipt but the pointers."""
    units = Ranges(len(found.names), 1)
    run_units(
        units,
        _CopyFile(source, ledger.store, found.names),
        receipts=ledger.receipts("files", units),
        executor=ThreadExecutor(cores=_AT_ONCE),
        stage=Stage("copying", "files"),
        on_event=on_event,
    )


@dataclass(frozen=True)
class _CopyFile:
    """Copies the file of a unit."""

    source: str
    target: str
    names: tuple[str, ...]

    def __call__(self, unit: Unit) -> dict[str, Any]:
        name = self.names[unit["start"]]
        source, target = urls.join(self.source, name), urls.join(self.target, name)
        sent, n_bytes = copied(source, target)
        if sent != (arrived := digest_of(target)):
            raise AtlasError(
                f"{target} holds other bytes (sha256 {arrived[:12]}) than were read ({sent[:12]}); "
                "see whether the disk or network is sound, then run the same again."
            )
        return {"bytes": n_bytes, "sha256": sent}


def _write_pointers(found: Contents, ledger: Ledger) -> None:
    """Write what makes the store valid, its root at the end and only where there is none."""
    for name, content in found.pointers.items():
        url = urls.join(ledger.store, name)
        if name != ROOT or urls.is_local(url):
            urls.write_bytes(url, content)
        elif not create_bytes(url, content):
            raise StoreExistsError(f"{ledger.out} was published meanwhile; nothing is overwritten.")
