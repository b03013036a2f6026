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

from atlasstore.errors import AtlasError, NotAStoreError, StoreExistsError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import remote, urls
from atlasstore.files.create import create_bytes
from atlasstore.progress import shown
from atlasstore.redaction import shown as without_secrets
from atlasstore.resume.executors import ThreadExecutor
from atlasstore.resume.ledger import Ledger, refuse_taken
from atlasstore.resume.units import Ranges, Stage, run_units
from atlasstore.sharing.contents import Contents, contents_of
from atlasstore.text_units import count
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Unit

__all__ = ["CopyReport", "copy_files", "copy_store"]

_AT_ONCE = 8
_CHUNK_BYTES = 8 << 20


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
    source: str | Path, out: str | Path, *, on_event: Subscriber | None = None
) -> CopyReport:
    """Copy an atlas, model or result; run it again to go on where it stopped.

    Parameters
    ----------
    source, out
        Paths or URLs. A source may be at ``https://``; of a model its newest checkpoint is copied,
        also while it is being trained.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> copy_store("s3://lab/denoised.zarr", "denoised.zarr")  # doctest: +SKIP

    Raises
    ------
    StoreExistsError
        Something exists at `out`.
    NotAStoreError, FormatVersionError
        There is no finished store at `source`.
    UserInputError
        Another copy is under way there, or the source is another one than when it began.
    AtlasError
        A file arrived with other bytes than were read.
    """
    place, target = str(source).rstrip("/"), str(out).rstrip("/")
    if urls.absolute(place) == urls.absolute(target):
        raise UserInputError(f"{target} is the store itself; name another place for the copy.")
    refuse_taken(target)
    if urls.exists(urls.join(target, ROOT)):
        raise StoreExistsError(
            f"{target} exists already and nothing is overwritten; choose another place, or delete "
            "it first."
        )
    found = contents_of(place)
    with shown(on_event) as subscriber, _ledger(place, target, found) as ledger:
        if ledger.has_begun:
            subscriber(Notice(f"Resuming {ledger.url}: files that have arrived stay."))
        copy_files(place, found, ledger, subscriber)
        _write_pointers(found, ledger)
        ledger.publish()
    return CopyReport(place, target, found.format, _n_files(found), urls.stored_bytes(target))


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


def copy_files(source: str, found: Contents, ledger: Ledger, on_event: Subscriber) -> None:
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
        sent, n_bytes = _copied(source, target)
        if sent != (arrived := _digest(target)):
            raise AtlasError(
                f"{target} holds other bytes (sha256 {arrived[:12]}) than were read ({sent[:12]}); "
                "see whether the disk or network is sound, then run the same again."
            )
        return {"bytes": n_bytes, "sha256": sent}


def _copied(source: str, target: str) -> tuple[str, int]:
    """Stream one file; return the SHA-256 and number of the bytes read."""
    fs, path = urls.filesystem(target)
    if urls.is_local(target):
        urls.local_path(target).parent.mkdir(parents=True, exist_ok=True)
    digest, n_bytes = hashlib.sha256(), 0
    with remote.outage_errors(target), fs.open(path, "wb") as file:
        for chunk in _chunks(source):
            digest.update(chunk)
            n_bytes += len(chunk)
            file.write(chunk)
    return digest.hexdigest(), n_bytes


def _digest(url: str) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(url):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(url: str) -> Any:
    """Yield the content of a file; a short answer of a server is an error."""
    fs, path = urls.filesystem(url)
    fs.invalidate_cache(path)
    try:
        with remote.outage_errors(url), fs.open(path, "rb", block_size=_CHUNK_BYTES) as file:
            left = file.size
            while chunk := file.read(_CHUNK_BYTES):
                left = None if left is None else left - len(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise NotAStoreError(
            f"{url} is gone: the store was changed or is damaged; run the same command again."
        ) from error
    if left:
        raise AtlasError(f"{url} was read in part ({count(left)} bytes lack); run the same again.")


def _write_pointers(found: Contents, ledger: Ledger) -> None:
    """Write what makes the store valid, its root at the end and only where there is none."""
    for name, content in found.pointers.items():
        url = urls.join(ledger.store, name)
        if name != ROOT or urls.is_local(url):
            urls.write_bytes(url, content)
        elif not create_bytes(url, content):
            raise StoreExistsError(f"{ledger.out} was published meanwhile; nothing is overwritten.")
