"""A long job's folder beside its output: what it is, what is done, and its scratch.

::

    OUT.partial/
        run.json          format, when the first run began, resolved configuration, inputs' stamps
        ledger/<unit>     one JSON receipt per finished unit, written after what it speaks of
        scratch/          what only this job reads
        store/            the store itself, where folders can be renamed (local)

Killed at any moment, the same job goes on with the units that have no receipt. A unit that was
begun is done again from its start, over what is left of it. A job with another configuration, or
whose inputs have changed, is refused. Publishing is one rename, or on an object store, where the
store is written in place, its last write. On a local disk a lock, which dies with its process,
keeps a second job out.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Self

from atlasstore import urls
from atlasstore.conditional import ROOT, create_bytes
from atlasstore.errors import (
    NotAStoreError,
    StoreExistsError,
    TooLittleMemoryError,
    UserInputError,
)
from atlasstore.staging import refuse_existing

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
    same: dict[str, Any] = json.loads(json.dumps(found))
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
        self.started = str(run["started"])
        is_moved = urls.is_local(out) and not adds
        self.store = urls.join(url, "store") if is_moved else out
        self.scratch = urls.join(url, "scratch")
        self._receipts = _read_receipts(urls.join(url, "ledger"))

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

        Work that only lacks memory is kept: more of it, and the job goes on.
        """
        is_wrong = isinstance(error, UserInputError)
        is_worth_keeping = isinstance(error, TooLittleMemoryError) and self.n_done > 0
        if self.is_new and is_wrong and not is_worth_keeping:
            self.discard()
        _unlock(self._lock)

    @property
    def n_done(self) -> int:
        """Units that are finished."""
        return len(self._receipts)

    def receipt(self, unit: str) -> dict[str, Any] | None:
        """Return the receipt of a finished unit, None while it is not."""
        return self._receipts.get(unit)

    def record(self, unit: str, receipt: Mapping[str, Any]) -> dict[str, Any]:
        """Note that a unit is finished: all that it wrote is written. Return the receipt."""
        urls.write_bytes(urls.join(self.url, "ledger", f"{unit}.json"), _json_bytes(receipt))
        self._receipts[unit] = dict(receipt)
        return self._receipts[unit]

    def publish(self) -> None:
        """Put a finished store in its place, and delete the folder.

        Raises
        ------
        StoreExistsError
            When something else has appeared there.
        """
        if self.store != self.out and urls.exists(self.store):
            refuse_existing(self.out)
            urls.local_path(self.store).rename(urls.local_path(self.out))
        urls.delete(self.url)

    def discard(self) -> None:
        """Delete the folder and an unfinished store, never one that is added to.

        Nor one that an equal job has published meanwhile.
        """
        if not self._adds and not _is_published(self.store):
            urls.delete(self.store)
        urls.delete(self.url)


def _is_published(store: str) -> bool:
    root = urls.join(store, ROOT)
    if not urls.exists(root):
        return False
    attributes = json.loads(urls.read_bytes(root)).get("attributes", {})
    return bool(attributes.get("complete"))


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
    if fs.isdir(path):
        files = fs.find(path, detail=True)
        return {"url": url, "bytes": sum(f["size"] for f in files.values()), "files": len(files)}
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
    run = {"format": _FORMAT, **job, "started": _now()}
    if create_bytes(urls.join(where, "run.json"), _json_bytes(run)):
        return run, True
    return _read_run(where) or run, False


def _read_run(where: str) -> dict[str, Any] | None:
    if not urls.exists(urls.join(where, "run.json")):
        return None
    run: dict[str, Any] = json.loads(urls.read_bytes(urls.join(where, "run.json")))
    return run


def _read_receipts(where: str) -> dict[str, dict[str, Any]]:
    names = [
        name
        for name in urls.list_names(where)
        if name.endswith(".json") and not name.startswith(".")  # a killed process's half file
    ]
    fs, folder = urls.filesystem(where)
    found = fs.cat([f"{folder}/{name}" for name in names]) if names else {}
    by_name = {path.rsplit("/", maxsplit=1)[-1]: content for path, content in found.items()}
    return {name.removesuffix(".json"): json.loads(by_name[name]) for name in names}


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


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key)}, now {b.get(key)}" for key in keys)


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
