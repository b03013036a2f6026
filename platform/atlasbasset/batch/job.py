"""A batch job: stages of units, their receipts, and a store that appears whole or not at all.

A verb plans its units from integers, and makes its store in a job::

    def make(job):
        job.create(lambda: create_result(job.place, ...))
        job.run("shards", units, WriteShards(job.place, ...), stage=Stage("writing", "cells"))
        job.publish(config, {"model": model.store, "atlas": atlas})

    was_finished = run_job(out, make, identity=JobIdentity("denoise", ...), pool=pool, ...)

Killed at any moment, the same job is resumed with the units that have no receipt
(`atlasstore.resume`). On object stores two equal jobs may run at once: of a shard that both have
computed the first stays, and the first to finish publishes. The other one may find its scratch
folder gone; it then ends early, without an error, and says that the same result was published. So a
verb builds its report from its plan or from the published result, afterwards.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from atlasbasset.batch.job_identity import IDENTITY, is_published
from atlasbasset.batch.scratch import check_scratch
from atlasbasset.batch.shard_checks import damaged_shards, written_shards
from atlasbasset.batch.stages import JobStages
from atlasstore.cards.store_card import refresh_card
from atlasstore.errors import CorruptStoreError, StoreExistsError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.models.measures import MEASURES, measures
from atlasstore.models.model_store import ModelStore
from atlasstore.results.writer import finish_result
from atlasstore.resume.ledger import Ledger, is_begun, refuse_taken
from atlasstore.text_units import count, size
from atlasstore.zarrio import arrays, formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job_identity import JobIdentity
    from atlasstore.events import Subscriber
    from atlasstore.resume.receipts import Receipts
    from atlasstore.resume.units import Receipt

    Finish = Callable[..., None]

__all__ = ["ResumableJob", "end_finished", "run_job"]

MOST_CHECKED_BYTES = 32 << 30
"""What is read again when a job is resumed, uncompressed: more would hold it up for long."""
_CREATED = "create"


class _HasProvenance(Protocol):
    @property
    def provenance(self) -> Mapping[str, Any]: ...


def _described(store: _HasProvenance) -> dict[str, Any]:
    """Return a store's provenance; of a model also what its training reached, for cards."""
    found = dict(store.provenance)
    return {**found, MEASURES: measures(store)} if isinstance(store, ModelStore) else found


def run_job(
    out: str | Path,
    make: Callable[[ResumableJob], None],
    *,
    identity: JobIdentity,
    pool: WorkerPool,
    on_event: Subscriber,
) -> bool:
    """Make the store at `out` unless the very same job has, or resume what is left of it.

    Parameters
    ----------
    out
        URL of the store.
    make
        Does the job's stages and publishes.
    identity
        What makes another run the same job.
    pool
        Who computes; all stages share one Ray.
    on_event
        Called with `Progress` and `Notice`.

    Returns
    -------
    bool
        Whether the same job had published it before; then a `Notice` says so.

    Raises
    ------
    StoreExistsError
        Another thing is stored there: another job's result, another store, a file.
    UserInputError
        An unfinished job of other arguments or inputs is there, another process is at work in it
        (on a local disk), or the workers cannot be had or cannot reach it.
    """
    if _is_finished(out, identity, on_event):
        return True
    pool.worker_url(out)
    with Ledger.open(out, config=identity.whole_config, inputs=identity.places) as ledger:
        try:
            _refuse_published(ledger, identity)
            with pool.session(on_event):
                _made(make, ledger, identity, pool, on_event)
        except Exception:  # of whatever kind: an equal job deletes what is read, file by file
            if urls.is_local(out) or not is_published(out, identity):
                raise
            ledger.discard()  # what was begun again in the folder; not the result
            _say_published(str(out), on_event)
    return False


def _made(
    make: Callable[[ResumableJob], None],
    ledger: Ledger,
    identity: JobIdentity,
    pool: WorkerPool,
    on_event: Subscriber,
) -> None:
    """Make the store; again from its start where what an earlier run left was damaged since.

    Shards that were made of a damaged scratch may be wrong, whole as they are: a lost piece reads
    as zeros.
    """
    try:
        make(ResumableJob(ledger, identity, pool, on_event))
    except CorruptStoreError as damage:
        is_ours = ledger.scratch in str(damage) or ledger.store in str(damage)
        if ledger.is_new or not (urls.is_local(ledger.out) and is_ours):
            raise
        on_event(
            Notice(
                f"Warning: what an earlier run has left is damaged ({damage}). All is made again. "
                "See to the disk."
            )
        )
        ledger.start_over()
        make(ResumableJob(ledger, identity, pool, on_event))


class ResumableJob(JobStages):
    """A job at work whose output is a store; made by `run_job`.

    Attributes
    ----------
    place
        URL of the store while it is written, as workers open it.
    """

    def __init__(
        self, ledger: Ledger, identity: JobIdentity, pool: WorkerPool, on_event: Subscriber
    ) -> None:
        super().__init__(ledger, pool, on_event)
        self._identity = identity
        self._files: Mapping[str, int | None] = {}
        self.place = pool.worker_url(ledger.store)

    def look_over(self, receipts: Receipts) -> None:
        """Let units be done again whose shards were damaged since an earlier run wrote them."""
        if not urls.is_local(self.place):
            return  # an object store keeps what it has as it was
        written = [(index, shard) for index, found in receipts for shard in written_shards(found)]
        if not written:
            return
        self._check_files()
        if (read := sum(int(shard["bytes"]) for _, shard in written)) > MOST_CHECKED_BYTES:
            self.on_event(
                Notice(
                    f"What an earlier run has written ({size(read)}) is not read again; `inspect "
                    "--verify` does, once it is published."
                )
            )
            return
        shards = [shard for _, shard in written]
        lost = damaged_shards(self.place, shards, pool=self._pool, on_event=self.on_event)
        if damaged := sorted({written[at][0] for at in lost}):
            receipts.undo(damaged)
            self.on_event(
                Notice(
                    f"Warning: {count(len(damaged))} of the units that an earlier run had finished "
                    f"are damaged in {self.place}; they are done again. See to the disk."
                )
            )

    def create(self, make: Callable[[], None]) -> None:
        """Write all of the store but the rows of its big tables, unless an earlier run has.

        The files that are there afterwards must still be there when the store is published. On a
        local disk they are compared with what an earlier run wrote, and written again if need be.
        """

        def made() -> Receipt:
            make()
            return {"files": self._stored()}

        is_resumed = self._ledger.receipt(_CREATED) is not None
        self._files = self.once(_CREATED, made)["files"]
        if is_resumed and urls.is_local(self.place) and self._is_damaged():
            self.on_event(
                Notice(
                    f"Warning: tables of {self.place} that an earlier run had written are damaged; "
                    "they are written again. See to the disk."
                )
            )
            make()

    def _stored(self) -> dict[str, int | None]:
        """Return the checksums of all files of the store, by name; on a local disk alone."""
        names = sorted(arrays.stored_files(self.place))
        if not urls.is_local(self.place):
            return dict.fromkeys(names)
        return {name: zlib.crc32(urls.read_bytes(urls.join(self.place, name))) for name in names}

    def _is_damaged(self) -> bool:
        there = arrays.stored_files(self.place)
        places = {name: urls.join(self.place, name) for name in self._files}
        return any(
            name not in there or zlib.crc32(urls.read_bytes(places[name])) != found
            for name, found in self._files.items()
        )

    def publish(
        self,
        config: Mapping[str, Any],
        made_from: Mapping[str, _HasProvenance],
        *,
        files: Sequence[str] = (),
        seed: int | None = None,
        finish: Finish = finish_result,
    ) -> None:
        """Publish the store and delete the job's folder.

        Parameters
        ----------
        config
            What the provenance says of the options, JSON values.
        made_from
            Stores whose provenance goes into the new one's, by name.
        files, seed
            As for `formats.provenance`.
        finish
            ``finish(place, provenance, shards=...)`` makes the store whole, its root last.

        Raises
        ------
        CorruptStoreError
            A piece of the store, or of the scratch that it was made from, is missing.
        StoreExistsError
            Another job has published there.
        """
        check_scratch(self.scratch)
        self._check_files()
        made = formats.provenance(list(files), dict(config), seed, created=self._ledger.started)
        sources = {name: _described(store) for name, store in made_from.items()}
        provenance = {**made, **sources, IDENTITY: self._identity.as_json()}
        try:
            finish(self.place, provenance, shards=self._shards())
        except StoreExistsError:
            if not is_published(self._ledger.out, self._identity):
                raise
            _say_published(self._ledger.out, self.on_event)
        refresh_card(self.place)  # of an equal job too: the same bytes
        self._ledger.publish()

    def _check_files(self) -> None:
        if lost := sorted(self._files.keys() - arrays.stored_files(self.place)):
            raise CorruptStoreError(
                f"{self.place} has lost {lost[0]} since the job wrote it; delete "
                f"{self._ledger.url} and run the job again."
            )

    def _shards(self) -> Iterator[Mapping[str, Any]]:
        """Yield what `write_rows` returned, from the receipts of all stages."""
        for receipts in self._receipts:
            for _, receipt in receipts:
                yield from written_shards(receipt)


def _is_finished(out: str | Path, identity: JobIdentity, on_event: Subscriber) -> bool:
    """Whether the very same job has published its store at `out`; then a `Notice` says so."""
    if not is_published(out, identity):
        refuse_taken(out)
        if urls.is_local(out):
            refuse_existing(out)
        return False
    end_finished(out, identity, on_event)
    return True


def _refuse_published(ledger: Ledger, identity: JobIdentity) -> None:
    """Raise StoreExistsError where an equal job has ended in the meantime."""
    out = ledger.out
    if not urls.is_local(out) and is_published(out, identity):
        raise StoreExistsError(f"{out} was published meanwhile.")


def end_finished(out: str | Path, identity: JobIdentity, on_event: Subscriber) -> None:
    """Say that the same job has made `out`, and delete the folder that it may have left."""
    _clean(out, identity)
    on_event(Notice(f"{out} is finished: the same job made it before; nothing was done."))


def _clean(out: str | Path, identity: JobIdentity) -> None:
    """Delete the folder that a job left when it ended between publishing and cleaning up."""
    if not is_begun(out):
        return
    with (
        suppress(UserInputError),
        Ledger.open(out, config=identity.whole_config, inputs=identity.places) as ledger,
    ):
        ledger.publish()


def _say_published(out: str, on_event: Subscriber) -> None:
    on_event(Notice(f"The same result was published at {out} meanwhile, by an equal job."))
