"""A batch job: stages of units, their receipts, and a result that appears whole or not at all.

A verb plans its units from integers, and runs them in a job::

    if finished(out, verb="denoise", config=config, inputs=inputs, on_event=on_event):
        return report
    with running_job(out, verb="denoise", config=config, inputs=inputs, ...) as job:
        job.once("create", lambda: create_result(job.place, ...))
        job.run("shards", units, WriteShards(job.place, ...), stage=Stage("writing", "cells"))
        job.publish(formats.provenance([], config, None, created=job.started))
    return report

Killed at any moment, the same job goes on with what has no receipt (`atlasstore.resume.ledger`). On
object stores two equal jobs may run at once: of a shard that both have computed the first stays,
and the first to finish publishes. The other one may find its scratch folder gone; its block then
ends early, without an error, and says that the same result was published. So a verb builds its
report from its plan or from the published result, after the block.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, cast

from atlasbasset.batch.run import run_units
from atlasstore.errors import AtlasError, NotAStoreError, StoreExistsError, UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.results.writer import finish_result
from atlasstore.resume.identity import job_difference, job_identity
from atlasstore.resume.ledger import (
    Ledger,
    open_finished,
    partial_url,
    refuse_taken,
)
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from atlasbasset.batch.run import Row, Stage, Unit, Work, Workers
    from atlasstore.events import Subscriber

__all__ = ["Job", "finished", "running_job"]

_IDENTITY = "job"
"""Where a result's provenance keeps what makes another run the same job."""


def finished(
    out: str | Path,
    *,
    verb: str,
    config: Mapping[str, Any],
    inputs: Sequence[str],
    on_event: Subscriber = ignore,
) -> bool:
    """Whether the very same job has published its result at `out`; then a `Notice` says so.

    Parameters
    ----------
    out
        URL of the result.
    verb, config, inputs
        As for `running_job`.
    on_event
        Hears the `Notice`.

    Raises
    ------
    StoreExistsError
        Another thing lies there: another job's result, another store, a file.
    """
    identity = _identity(verb, config, inputs)
    if not _is_published(out, identity):
        refuse_taken(out)
        if urls.is_local(out):
            refuse_existing(out)
        return False
    _clean(out, identity)
    on_event(Notice(f"{out} is finished: the same job made it before; nothing was done."))
    return True


def running_job(
    out: str | Path,
    *,
    verb: str,
    config: Mapping[str, Any],
    inputs: Sequence[str],
    workers: Workers,
    on_event: Subscriber,
) -> AbstractContextManager[Job, bool]:
    """Begin the job that makes `out`, or go on with what is left of it.

    Parameters
    ----------
    out
        URL of the result; nothing but this job's own work may lie there (`finished`).
    verb
        Name of the verb.
    config
        Whatever changes the result, JSON values: resolved options, fingerprint of the model, seed;
        not workers or memory.
    inputs
        URLs of the files and stores that are read and must stay as they are.
    workers
        Who computes; all stages share one Ray.
    on_event
        Hears `Progress` and `Notice`.

    Returns
    -------
    context manager of Job
        The block ends early, without an error, when an equal job has published meanwhile.

    Raises
    ------
    UserInputError
        An unfinished job of other arguments or inputs lies there, another process is at work in it
        (on a local disk), or the workers cannot be had or cannot reach it.
    """
    identity = _identity(verb, config, inputs)
    running = _running(str(out), identity, workers, on_event)
    return cast("AbstractContextManager[Job, bool]", running)


@contextmanager
def _running(
    out: str, identity: _Identity, workers: Workers, on_event: Subscriber
) -> Iterator[Job]:
    workers.reachable(out)
    with Ledger.open(out, config=identity.config, inputs=identity.inputs) as ledger:
        try:
            # by an equal job that began and ended since `finished` looked
            is_late = ledger.is_new and not urls.is_local(out) and _is_published(out, identity)
            with nullcontext() if is_late else workers.session(on_event):
                yield Job(ledger, identity, workers, on_event, is_late=is_late)
        except (AtlasError, OSError):
            if urls.is_local(out) or not _is_published(out, identity):
                raise
            ledger.discard()  # what was begun again in the folder; not the result
            _say_published(out, on_event)


class Job:
    """A job at work; made by `running_job`.

    Attributes
    ----------
    place
        URL of the result store while it is written, as workers open it.
    scratch
        URL of a folder that only this job reads, gone when the result is published.
    started
        When the job's first run began, UTC, ISO 8601.
    """

    def __init__(
        self,
        ledger: Ledger,
        identity: _Identity,
        workers: Workers,
        on_event: Subscriber,
        *,
        is_late: bool = False,
    ) -> None:
        self._ledger, self._identity, self._is_late = ledger, identity, is_late
        self._workers, self._on_event = workers, on_event
        self._shards: list[Mapping[str, Any]] = []
        self.place = workers.reachable(ledger.store)
        self.scratch = workers.reachable(ledger.scratch)
        self.started = ledger.started

    def run(self, name: str, units: Sequence[Unit], work: Work, *, stage: Stage) -> list[Row]:
        """Do the units that have no receipt.

        Parameters
        ----------
        name
            Of the stage's receipts; letters, digits, dashes.
        units
            The same ones in every run of the job.
        work
            Writes the same bytes for the same unit; its row (JSON values) is the receipt. A row
            is, or holds anywhere inside, what `write_rows` returned, and ``bytes`` is counted.
        stage
            What `Progress` says.

        Returns
        -------
        list
            A row for each unit, in the order of `units`.

        Raises
        ------
        AtlasError
            The first that a unit raised; what is done keeps its receipts.
        """
        self._end_early()
        keys = [f"{name}.{index:07d}" for index in range(len(units))]
        found = {index: self._ledger.receipt(key) for index, key in enumerate(keys)}
        rows = run_units(
            units,
            work,
            workers=self._workers,
            stage=stage,
            on_event=self._on_event,
            known={index: row for index, row in found.items() if row is not None},
            on_row=lambda index, row: self._keep(keys[index], row),
        )
        for row in rows:
            self._shards += _written(row)
        return rows

    def once(self, name: str, make: Callable[[], Row | None]) -> Row:
        """Do a small step here, unless an earlier run has done it; return its receipt."""
        self._end_early()
        found = self._ledger.receipt(name)
        return self._ledger.record(name, make() or {}) if found is None else found

    def publish(self, provenance: Mapping[str, Any]) -> None:
        """Publish the result and delete the job's folder.

        Parameters
        ----------
        provenance
            What `formats.provenance` returned, `created` being `started`.

        Raises
        ------
        CorruptStoreError
            A shard was not written.
        StoreExistsError
            Another job has published there.
        """
        self._end_early()
        out, made = self._ledger.out, {**provenance, _IDENTITY: self._identity.as_json}
        try:
            finish_result(self.place, made, shards=self._shards)
        except StoreExistsError:
            if not _is_published(out, self._identity):
                raise
            _say_published(out, self._on_event)
        self._ledger.publish()

    def _keep(self, key: str, row: Row) -> None:
        self._ledger.record(key, row)
        self._ledger.keep()

    def _end_early(self) -> None:
        """Leave the block where nothing is left to do; `_running` takes the error for its end."""
        if self._is_late:
            raise StoreExistsError(f"{self._ledger.out} was published meanwhile.")


class _Identity:
    """What makes two runs the same job."""

    def __init__(self, config: Mapping[str, Any], inputs: Sequence[str]) -> None:
        self.config, self.inputs = config, inputs
        self.as_json = job_identity(config, inputs)


def _identity(verb: str, config: Mapping[str, Any], inputs: Sequence[str]) -> _Identity:
    return _Identity({"verb": verb, **config}, [urls.absolute(url) for url in inputs])


def _is_published(out: str | Path, identity: _Identity) -> bool:
    """Whether the job's result is there, finished; raise StoreExistsError for another store."""
    try:
        info = formats.check(open_finished(out), url=str(out))
    except NotAStoreError:
        return False
    made = info.provenance.get(_IDENTITY)
    if made is None:
        differs = "not by a job of this kind"
    else:
        differs = job_difference(made, identity.as_json)
    if differs:
        raise StoreExistsError(
            f"{out} exists already, made by another job ({differs}), and nothing is overwritten; "
            "choose another output, or delete it first."
        )
    return True


def _clean(out: str | Path, identity: _Identity) -> None:
    """Delete the folder that a job left when it ended between publishing and cleaning up."""
    if not urls.exists(urls.join(partial_url(out), "run.json")):
        return
    with (
        suppress(UserInputError),
        Ledger.open(out, config=identity.config, inputs=identity.inputs) as ledger,
    ):
        ledger.publish()


def _written(row: Any) -> list[Mapping[str, Any]]:
    """Return what `write_rows` returned, wherever it lies in a row."""
    if isinstance(row, dict):
        if {"table", "start", "crc32"} <= row.keys():
            return [row]
        return [found for value in row.values() for found in _written(value)]
    if isinstance(row, list):
        return [found for value in row for found in _written(value)]
    return []


def _say_published(out: str, on_event: Subscriber) -> None:
    on_event(Notice(f"The same result was published at {out} meanwhile, by an equal job."))
