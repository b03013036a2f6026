"""Stages of a job at work: units with receipts, small steps, a scratch folder.

What they make is a store (`atlasbasset.batch.job`) or files (`atlasbasset.batch.file_job`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.resume.units import run_units

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlasbasset.batch.executor import WorkerPool
    from atlasstore.events import Subscriber
    from atlasstore.resume.ledger import Ledger
    from atlasstore.resume.receipts import Receipts
    from atlasstore.resume.units import Receipt, Stage, Unit, Work

__all__ = ["JobStages"]


class JobStages:
    """A job at work.

    Attributes
    ----------
    scratch
        URL of a folder that only this job reads, gone when its output is published.
    on_event
        Called with `Progress` and `Notice`.
    """

    def __init__(self, ledger: Ledger, pool: WorkerPool, on_event: Subscriber) -> None:
        self._ledger, self._pool = ledger, pool
        self.on_event = on_event
        self._receipts: list[Receipts] = []
        self.scratch = pool.worker_url(ledger.scratch)

    def run(self, name: str, units: Sequence[Unit], work: Work, *, stage: Stage) -> Receipts:
        """Do the units that have no receipt.

        Parameters
        ----------
        name
            Of the stage's receipts; letters, digits, dashes.
        units
            The same ones in every run of the job.
        work
            Writes the same bytes for the same unit. A receipt of a job that makes a store is, or
            holds anywhere inside, what `write_rows` returned, and ``bytes`` is counted. In this
            process it is called in as many threads as its attribute ``threads`` says.
        stage
            What `Progress` says.

        Raises
        ------
        AtlasError
            The first that a unit raised; what is done keeps its receipts.
        """
        receipts = self._ledger.receipts(name, units)
        self._receipts.append(receipts)
        self.look_over(receipts)
        try:
            run_units(
                units,
                work,
                receipts=receipts,
                executor=self._pool.executor,
                stage=stage,
                on_event=self.on_event,
                at_once=getattr(work, "threads", 1),
            )
        finally:
            if receipts.done.any():
                self._ledger.keep()
        return receipts

    def look_over(self, receipts: Receipts) -> None:
        """Undo receipts of an earlier run whose work is not as it was left; here none is."""

    def once(self, name: str, make: Callable[[], Receipt | None]) -> Receipt:
        """Do a small step here, unless an earlier run has done it; return its receipt."""
        found = self._ledger.receipt(name)
        return self._ledger.record(name, make() or {}) if found is None else found
