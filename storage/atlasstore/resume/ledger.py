"""A long job's folder beside its output: what it is, what is done, and its scratch.

::

    OUT.partial/
        run.json          format, an id, when the first run began, configuration, inputs' stamps
        ledger/<id>/      one receipt, JSON and sealed, for each small step done by the driver, and
                          a folder for each stage with receipts of its units (`resume.receipts`)
        scratch/<id>/     what only this job reads
        store/            the store itself, where folders can be renamed (local)
        joined            that another process went on with it (on an object store)

Killed at any moment, the same job resumes with the units that have no receipt. A unit that was
begun is done again from its start, over what is left of it. A job with another configuration, or
whose inputs have changed, is refused; receipts are kept under the id of their job, so none is taken
that an earlier one has left. Publishing is one rename, or on an object store, where the
store is written in place, its last write. On a local disk a lock, which dies with its process,
keeps a second job out.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from atlasstore.errors import (
    CorruptStoreError,
    MissingExtraError,
    NotAStoreError,
    StoreExistsError,
    TooLittleMemoryError,
    UserInputError,
)
from atlasstore.files import urls
from atlasstore.files.create import create_bytes
from atlasstore.files.json_text import parsed_json
from atlasstore.files.locks import file_lock
from atlasstore.files.sealed import unsealed, write_sealed
from atlasstore.files.staging import refuse_existing
from atlasstore.redaction import shown_values
from atlasstore.resume.identity import changed_input, difference, job_identity
from atlasstore.resume.receipts import Receipts
from atlasstore.zarrio.overlay import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import zarr

    from atlasstore.resume.units import Unit

__all__ = [
    "Ledger",
    "has_receipts",
    "is_begun",
    "open_finished",
    "partial_url",
    "refuse_taken",
]

_FORMAT = "atlasbasset.run"
_NOT_THE_INPUT = (MissingExtraError, NotAStoreError, StoreExistsError, TooLittleMemoryError)
"""What can be put right without changing the inputs; then the job goes on."""
_HALF_WRITTEN = re.compile(r"\.[0-9a-f]{32}\.partial")
"""End of the name of a file that a killed process was writing."""
_JOINED = "joined"
_ID = re.compile("[0-9a-f]{32}")


def partial_url(out: str | Path) -> str:
    """Return the folder of the job that makes `out`."""
    return f"{str(out).rstrip('/')}.partial"


def is_begun(out: str | Path, *, adds: bool = False) -> bool:
    """Whether a job that makes `out`, or adds to it, has begun and not ended."""
    return urls.exists(urls.join(_folder(out, adds=adds), "run.json"))


def has_receipts(out: str | Path, *, adds: bool = False) -> bool:
    """Whether such a job has finished a step or a unit, so that its work is kept."""
    ledger = urls.join(_folder(out, adds=adds), "ledger")
    return any(urls.list_names(urls.join(ledger, job)) for job in urls.list_names(ledger))


def _folder(out: str | Path, *, adds: bool) -> str:
    return partial_url(f"{str(out).rstrip('/')}.append" if adds else out)


def open_finished(url: str | Path) -> zarr.Group:
    """Open the zarr group of a store for reading.

    Raises
    ------
    NotAStoreError
        There is none, or the job that makes it has not finished.
    """
    try:
        return urls.open_group(url)
    except NotAStoreError as error:
        if not is_begun(url):
            raise
        raise NotAStoreError(
            f"{url} is incomplete: the job that makes it is still running or has died; wait, or "
            "run the same command again to go on with it."
        ) from error


class Ledger:
    """A job's folder; made by `Ledger.open`, closed as a context manager.

    Attributes
    ----------
    url
        The folder.
    out
        What the job makes.
    store
        Where the store is written until `publish`; an existing one that is added to, in place.
    scratch
        Where pieces lie that only this job reads.
    started
        When the first run began, UTC, ISO 8601.
    is_new
        Whether this process began the job.
    """

    def __init__(
        self,
        out: str,
        url: str,
        run: Mapping[str, Any],
        *,
        lock: int | None,
        is_new: bool,
        adds: bool,
    ) -> None:
        self.out, self.url, self._lock, self.is_new, self._adds = out, url, lock, is_new, adds
        self.started, self._id = str(run["started"]), str(run["id"])
        is_moved = urls.is_local(out) and not adds
        self.store = urls.join(url, "store") if is_moved else out
        self.scratch = urls.join(url, "scratch", self._id)
        self._ledger = urls.join(url, "ledger", self._id)
        self._steps = _read_steps(self._ledger)
        self._is_kept = False
        if is_new and is_moved and urls.exists(self.store):
            urls.delete(self.store)  # of an earlier job, whose deletion stopped half-way

    @classmethod
    def open(
        cls,
        out: str | Path,
        *,
        config: Mapping[str, Any],
        inputs: Sequence[str],
        adds: bool = False,
    ) -> Self:
        """Begin the job, or go on with what is left of it.

        Parameters
        ----------
        out
            What the job makes.
        config
            The resolved configuration, JSON values; not how much memory or which workers.
        inputs
            Files that must stay as they are.
        adds
            Whether `out` exists and is added to: its bytes stay as they are.

        Raises
        ------
        UserInputError
            Another job's folder is stored there, or another process is at work in it.
        """
        where = _folder(out, adds=adds)
        job = job_identity(config, inputs)
        lock = _locked(where)
        try:
            found, is_new = _begun(where, job)
            _refuse_other(where, str(out), found, job)
            if not is_new and lock is None:
                urls.write_bytes(urls.join(where, _JOINED), b"")
        except BaseException:
            _unlock(lock)
            raise
        return cls(str(out), where, found, lock=lock, is_new=is_new, adds=adds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Delete what a job that has just begun left when its input is wrong; keep it otherwise.

        Its input is no longer in doubt after `keep`, nor when an older run began the job. Work
        that lacks memory, a package or a place to go is kept: put right, the job goes on.
        """
        try:
            if self.is_new and isinstance(error, UserInputError) and not self._is_of_use(error):
                self.discard()
        finally:
            _unlock(self._lock)

    def _is_of_use(self, error: UserInputError) -> bool:
        if self._is_kept or (self.has_begun and isinstance(error, _NOT_THE_INPUT)):
            return True
        return urls.exists(urls.join(self.url, _JOINED))  # by an equal job, perhaps at work

    @property
    def has_begun(self) -> bool:
        """Whether any step or unit is finished."""
        return bool(urls.list_names(self._ledger))

    def keep(self) -> None:
        """Say that work worth keeping is done: a wrong input does not delete it any more."""
        self._is_kept = True

    def receipts(self, stage: str, units: Sequence[Unit]) -> Receipts:
        """Return the receipts of a stage's units: those that earlier runs have done are marked."""
        return Receipts(urls.join(self._ledger, stage), units)

    def receipt(self, step: str) -> dict[str, Any] | None:
        """Return the receipt of a finished step, None while it is not."""
        return self._steps.get(step)

    def record(self, step: str, receipt: Mapping[str, Any]) -> dict[str, Any]:
        """Note that a step is finished: all that it wrote is written. Return the receipt."""
        kept = dict(shown_values(receipt))
        write_sealed(urls.join(self._ledger, f"{step}.json"), _json_bytes(kept))
        self._steps[step] = kept
        return kept

    def start_over(self) -> None:
        """Delete all receipts and the scratch: everything is done again, over what is there."""
        urls.delete(self._ledger)
        self._steps = {}
        urls.delete(self.scratch)

    def publish(self) -> None:
        """Put a finished store in its place, and delete the folder.

        Raises
        ------
        StoreExistsError
            When something else has appeared there.
        """
        _sweep(self.store)
        if self.store != self.out and urls.exists(self.store):
            refuse_existing(self.out)
            urls.local_path(self.store).rename(urls.local_path(self.out))
        urls.delete(self.url)

    def discard(self) -> None:
        """Delete the folder and an unfinished store, never one that is added to.

        Nor one that an equal job has published meanwhile. Receipts go first: what they speak of is
        there for as long as they are.
        """
        urls.delete(urls.join(self.url, "ledger"))
        if not self._adds and not _is_published(self.store):
            urls.delete(self.store)
        urls.delete(self.url)


def _is_published(store: str) -> bool:
    root = urls.join(store, ROOT)
    if not urls.exists(root):
        return False
    attributes = _loaded(urls.read_bytes(root), root).get("attributes", {})
    return bool(attributes.get("complete"))


def _sweep(store: str) -> None:
    """Delete what killed processes were writing on a local disk; a lock keeps living ones out."""
    if not urls.is_local(store):
        return
    for path in urls.local_path(store).rglob("*.partial"):
        if _HALF_WRITTEN.search(path.name) and path.is_file():
            path.unlink()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json_bytes(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1).encode()


def refuse_taken(out: str | Path) -> None:
    """Raise StoreExistsError when something exists at `out` that is no job's to go on with."""
    is_elsewhere = urls.is_local(out) and urls.exists(urls.join(partial_url(out), "store"))
    if not is_begun(out) or is_elsewhere:
        refuse_existing(out)


def _begun(where: str, job: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the run that has begun there, and whether it began just now.

    Of two processes that begin at once where there are no locks, one creates the record.
    """
    if (found := _read_run(where)) is not None:
        return found, False
    run = {"format": _FORMAT, "id": uuid.uuid4().hex, **job, "started": _now()}
    if create_bytes(urls.join(where, "run.json"), _json_bytes(run)):
        return run, True
    return _read_run(where) or run, False


def _read_run(where: str) -> dict[str, Any] | None:
    place = urls.join(where, "run.json")
    try:
        found = _loaded(urls.read_bytes(place), place)
    except NotAStoreError:
        return None
    if found.get("format") == _FORMAT and not _is_run(found):
        raise _damaged(place, "something is missing")
    return found


def _is_run(found: Mapping[str, Any]) -> bool:
    """Whether there is all that `_begun` writes; the id becomes part of a path."""
    config, inputs = found.get("config"), found.get("inputs")
    return (
        {"package", "started"} <= found.keys()
        and isinstance(config, dict)
        and isinstance(inputs, list)
        and all(isinstance(stamp, dict) and "url" in stamp for stamp in inputs)
        and _ID.fullmatch(str(found.get("id"))) is not None
    )


def _loaded(text: bytes, place: str) -> dict[str, Any]:
    """Return what one of a job's files says.

    Raises
    ------
    CorruptStoreError
        When it is no JSON of names and values.
    """
    try:
        return dict(parsed_json(text))
    except (ValueError, TypeError) as error:
        raise _damaged(place, str(error)) from error


def _damaged(place: str, why: str) -> CorruptStoreError:
    return CorruptStoreError(
        f"{place} cannot be read ({why}); a disk or a power failure has damaged it: delete the "
        f"folder {place.rpartition('/')[0]} and run the same command again."
    )


def _read_steps(where: str) -> dict[str, dict[str, Any]]:
    """Return step -> receipt; none where an equal job has ended, which deletes them, meanwhile."""
    names = [
        name
        for name in urls.list_names(where)
        if name.endswith(".json") and not name.startswith(".")  # a killed process's half file
    ]
    contents, found = dict[str, bytes](), {}
    with suppress(FileNotFoundError):
        contents = urls.read_files(where, names) if names else {}
    for name in sorted(contents):
        place = urls.join(where, name)
        try:
            content = unsealed(contents[name], name)
        except ValueError as error:
            raise _damaged(place, str(error)) from error
        found[name.removesuffix(".json")] = _loaded(content, place)
    return found


def _refuse_other(where: str, out: str, found: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    remedy = f"finish that one with its own arguments, or delete {where} to begin {out} again."
    if found.get("format") != _FORMAT:
        raise StoreExistsError(f"{where} is in the way and is no folder of ours; move it.")
    if found["package"] != job["package"]:
        raise UserInputError(
            f"{where} holds an unfinished run of atlasbasset {found['package']}, but this is "
            f"{job['package']}; {remedy}"
        )
    if found["config"] != job["config"]:
        differs = difference(found["config"], job["config"])
        raise UserInputError(
            f"{where} holds an unfinished run with other arguments ({differs}); {remedy}"
        )
    if changed := changed_input(found, job):
        raise UserInputError(
            f"{changed} has changed since the unfinished run in {where} began; put it back, or "
            f"delete {where} to begin {out} again."
        )


def _locked(where: str) -> int | None:
    """Lock the folder for this process; None elsewhere and on file systems without locks."""
    if not urls.is_local(where):
        return None
    urls.local_path(where).mkdir(parents=True, exist_ok=True)
    return file_lock(urls.join(where, "lock"))


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)
