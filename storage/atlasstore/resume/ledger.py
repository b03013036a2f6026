"""A long job's folder beside its output: what it is, what is done, and its scratch.

::

    OUT.partial/
        run.json          format, an id, when the first run began, configuration, inputs' stamps
        ledger/<unit>     one JSON receipt per finished unit, written after what it speaks of
        scratch/<id>/     what only this job reads
        store/            the store itself, where folders can be renamed (local)
        joined            that another process went on with it (on an object store)

Killed at any moment, the same job goes on with the units that have no receipt. A unit that was
begun is done again from its start, over what is left of it. A job with another configuration, or
whose inputs have changed, is refused; receipts carry the id of their job, so none is taken that an
earlier one has left. Publishing is one rename, or on an object store, where the
store is written in place, its last write. On a local disk a lock, which dies with its process,
keeps a second job out.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self

from atlasstore.errors import (
    MissingExtraError,
    NotAStoreError,
    StoreExistsError,
    TooLittleMemoryError,
    UserInputError,
)
from atlasstore.files import remote, urls
from atlasstore.files.staging import refuse_existing
from atlasstore.redaction import shown_values
from atlasstore.zarrio.overlay import ROOT, create_bytes

try:
    import fcntl
except ImportError:  # no such locks on this system
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import IO

    import zarr

__all__ = [
    "Ledger",
    "job_difference",
    "job_identity",
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
_SHOWN = 60
"""Characters of a value that a message shows."""


def partial_url(out: str | Path) -> str:
    """Return the folder of the job that makes `out`."""
    return f"{str(out).rstrip('/')}.partial"


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
        if not urls.exists(urls.join(partial_url(url), "run.json")):
            raise
        raise NotAStoreError(
            f"{url} is incomplete: the job that makes it is still running or has died; wait, or "
            "run the same command again to go on with it."
        ) from error


def job_identity(config: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, Any]:
    """Return what makes two runs the same job, as it is read back from JSON.

    Parameters
    ----------
    config
        The resolved configuration, JSON values.
    inputs
        Files and stores that must stay as they are.
    """
    stamps = [_stamp(name) for name in inputs]
    found = {"package": version("atlasbasset"), "config": dict(config), "inputs": stamps}
    same: dict[str, Any] = json.loads(json.dumps(shown_values(found)))
    return same


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
        lock: IO[str] | None,
        is_new: bool,
        adds: bool,
    ) -> None:
        self.out, self.url, self._lock, self.is_new, self._adds = out, url, lock, is_new, adds
        self.started, self._id = str(run["started"]), str(run.get("id", "first"))
        is_moved = urls.is_local(out) and not adds
        self.store = urls.join(url, "store") if is_moved else out
        self.scratch = urls.join(url, "scratch", self._id)
        self._receipts = _read_receipts(urls.join(url, "ledger"), self._id)
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
            Another job's folder lies there, or another process is at work in it.
        """
        where = partial_url(f"{str(out).rstrip('/')}.append" if adds else out)
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
        if self._is_kept or (self.n_done and isinstance(error, _NOT_THE_INPUT)):
            return True
        return urls.exists(urls.join(self.url, _JOINED))  # by an equal job, perhaps at work

    @property
    def n_done(self) -> int:
        """Units that are finished."""
        return len(self._receipts)

    def keep(self) -> None:
        """Say that work worth keeping is done: a wrong input does not delete it any more."""
        self._is_kept = True

    def receipt(self, unit: str) -> dict[str, Any] | None:
        """Return the receipt of a finished unit, None while it is not."""
        return self._receipts.get(unit)

    def record(self, unit: str, receipt: Mapping[str, Any]) -> dict[str, Any]:
        """Note that a unit is finished: all that it wrote is written. Return the receipt."""
        kept = shown_values(receipt)
        content = _json_bytes({"job": self._id, "receipt": kept})
        urls.write_bytes(urls.join(self.url, "ledger", f"{unit}.json"), content)
        self._receipts[unit] = kept
        return self._receipts[unit]

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
    attributes = json.loads(urls.read_bytes(root)).get("attributes", {})
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
    """Raise StoreExistsError when something lies at `out` that is no job's to go on with."""
    folder = partial_url(out)
    is_begun = urls.exists(urls.join(folder, "run.json"))
    is_elsewhere = urls.is_local(out) and urls.exists(urls.join(folder, "store"))
    if not is_begun or is_elsewhere:
        refuse_existing(out)


def _stamp(url: str) -> dict[str, Any]:
    """Return what tells that an input was changed, without reading it; little for a pattern."""
    fs, path = urls.filesystem(url)
    fs.invalidate_cache()
    with remote.told(url):
        if fs.isdir(path):
            files = fs.find(path, detail=True).values()
            return {"url": url, "bytes": sum(f["size"] for f in files), "files": len(files)}
        if not fs.exists(path):
            return {"url": url, "bytes": None, "changed": None}
        info = fs.info(path)
    changed = next((info[k] for k in ("ETag", "etag", "mtime", "LastModified") if k in info), None)
    return {"url": url, "bytes": info.get("size"), "changed": str(changed)}


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
    try:
        run: dict[str, Any] = json.loads(urls.read_bytes(urls.join(where, "run.json")))
    except NotAStoreError:
        return None
    return run


def _read_receipts(where: str, job: str) -> dict[str, dict[str, Any]]:
    """Return unit -> receipt, of those that the job with this id has written."""
    names = [
        name
        for name in urls.list_names(where)
        if name.endswith(".json") and not name.startswith(".")  # a killed process's half file
    ]
    fs, folder = urls.filesystem(where)
    with remote.told(where):
        contents = fs.cat([f"{folder}/{name}" for name in names]) if names else {}
    found = {path.rpartition("/")[2]: json.loads(text) for path, text in contents.items()}
    return {
        name.removesuffix(".json"): made["receipt"]
        for name, made in sorted(found.items())
        if made.get("job") == job
    }


def _refuse_other(where: str, out: str, found: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    remedy = f"finish that one with its own arguments, or delete {where} to begin {out} anew."
    if found.get("format") != _FORMAT:
        raise StoreExistsError(f"{where} is in the way and is no folder of ours; move it.")
    if found["package"] != job["package"]:
        raise UserInputError(
            f"{where} holds an unfinished run of atlasbasset {found['package']}, but this is "
            f"{job['package']}; {remedy}"
        )
    if found["config"] != job["config"]:
        differs = _difference(found["config"], job["config"])
        raise UserInputError(
            f"{where} holds an unfinished run with other arguments ({differs}); {remedy}"
        )
    if changed := _changed_input(found, job):
        raise UserInputError(
            f"{changed} has changed since the unfinished run in {where} began; put it back, or "
            f"delete {where} to begin {out} anew."
        )


def job_difference(found: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """Say in what two identities (`job_identity`) differ; nothing where they are the same."""
    if found["config"] != job["config"]:
        return _difference(found["config"], job["config"])
    if changed := _changed_input(found, job):
        return f"{changed} has changed since"
    if found["package"] != job["package"]:
        return f"by atlasbasset {found['package']}, this is {job['package']}"
    return ""


def _changed_input(found: Mapping[str, Any], job: Mapping[str, Any]) -> str | None:
    """Return the first input that is another one now."""
    pairs = zip_longest(found["inputs"], job["inputs"], fillvalue={"url": "the list of inputs"})
    return next((str(a["url"]) for a, b in pairs if a != b), None)


def _difference(a: Mapping[str, Any], b: Mapping[str, Any], *, within: str = "") -> str:
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return ", ".join(_differs(within + key, a.get(key), b.get(key)) for key in keys)


def _differs(key: str, a: Any, b: Any) -> str:
    """Say how a value differs, in few characters."""
    if isinstance(a, dict) and isinstance(b, dict):
        if a.get("sha256") != b.get("sha256"):
            return f"another {key}"
        return _difference(a, b, within=f"{key} ")
    if _is_digest(a) and _is_digest(b):
        return f"other {key.removesuffix('_sha256')}"
    before, now = _brief(a), _brief(b)
    if before == now:
        now = f"{len(b)} others" if isinstance(b, list) else "another one"
    return f"{key} {before}, now {now}"


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _brief(value: Any) -> str:
    text = str(value)
    if len(text) <= _SHOWN:
        return text
    if isinstance(value, list):
        return f"{len(value)} entries"
    return f"{text[: _SHOWN - 3]}..."


def _locked(where: str) -> IO[str] | None:
    """Take the folder for this process; the lock goes when the process does."""
    if not urls.is_local(where) or fcntl is None:
        return None
    folder = urls.local_path(where)
    folder.mkdir(parents=True, exist_ok=True)
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise UserInputError(
            f"another process is at work in {where}; wait until it is done, or end it."
        ) from error
    return lock


def _unlock(lock: IO[str] | None) -> None:
    if lock is not None:
        lock.close()
