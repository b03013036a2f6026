"""The task engine: units of work planned by integers, done anywhere, each with a receipt.

A unit is a few integers; what it computes, it writes itself, each unit its own part of the output.
Units are handed out in batches; whoever does a batch writes the receipts of its units, many to a
file (`Receipts`), so that neither time nor memory in the driver grows with what units return. A job
that is run again does the units without a receipt. An executor says who computes: threads, a Dask
cluster, or Ray (in `atlasbasset`).

The work is a picklable callable, best a frozen dataclass of URLs and settings that opens what it
needs when it is first called (`functools.cached_property`) and keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np

from atlasstore import errors
from atlasstore.errors import UserInputError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.resume.receipts import Row, write_receipts

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.resume.machine import Machine
    from atlasstore.resume.receipts import Receipts

__all__ = ["Executor", "Ranges", "Receipt", "Stage", "Unit", "Work", "run_units"]

Unit = Mapping[str, int]
"""Names what to do: the range [start, stop), 0-based half-open, and whatever else is needed."""
Receipt = Mapping[str, Any]
"""What is known when a unit is done: a few JSON values; ``bytes``, if there, is counted."""
Work = Callable[[Unit], Receipt]

_MOST_IN_BATCH = 1000
_BATCHES = 256
"""At least so many where units suffice: progress moves, and little is done twice after a kill."""
_BATCHES_PER_WORKER = 16


class Executor(Protocol):
    """Runs independent units, in this process or elsewhere."""

    @property
    def n_workers(self) -> int:
        """How many units are under way at once, about."""
        ...

    def machine(self) -> Machine:
        """Return what a worker process that begins a stage now may use."""
        ...

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Yield (index, receipt) of each unit as it finishes; `at_once` at a time in a process.

        The first error is raised, of its own class where it is one of ours, when the units that
        are running in this process have ended.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stage:
    """What `Progress` says of the units."""

    name: str
    """As `Progress.stage`."""
    unit: str
    """Plural name of what the units' ranges count, as `Progress.unit`."""


@dataclass(frozen=True, slots=True)
class Ranges(Sequence[Unit]):
    """The units [0, size), [size, 2 size), ... of `total`, made when they are asked for."""

    total: int
    size: int

    def __len__(self) -> int:
        return -(-self.total // self.size)

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Unit]: ...
    def __getitem__(self, index: int | slice) -> Unit | Sequence[Unit]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        start = self.size * (index % len(self))
        return {"start": start, "stop": min(start + self.size, self.total)}


def run_units(
    units: Sequence[Unit],
    work: Work,
    *,
    receipts: Receipts,
    executor: Executor,
    stage: Stage,
    on_event: Subscriber,
    at_once: int | None = None,
    keep_going: bool = False,
) -> dict[int, UserInputError]:
    """Do every unit that has no receipt.

    Parameters
    ----------
    units
        The same ones in every run of the job; each writes another part of the output than all
        others, and may be done twice.
    work
        Called with one unit at a time; writes the same bytes for the same unit. What the threads of
        a process share its method ``load``, if it has one, loads once before them.
    receipts
        Of these units.
    executor
        Who computes.
    stage
        What `Progress` says.
    on_event
        Called with `Progress` at the start and as batches of units finish.
    at_once
        Units at a time in a process; the executor's own number by default.
    keep_going
        Return the `UserInputError` of a unit in place of raising it. The unit gets no receipt.

    Returns
    -------
    dict
        Index of a unit -> its error, with `keep_going`.

    Raises
    ------
    AtlasError
        The first that a unit raised, of its own class. Units begun by then may still be running on
        a cluster, so that work must not write into a place that is gone.
    """
    left = np.flatnonzero(~receipts.done)
    failed: dict[int, UserInputError] = {}
    if not left.size:
        return failed
    counter = _ProgressCounter(units, receipts, stage, on_event)
    batches = Ranges(len(left), _batch_size(len(left), executor.n_workers))
    runner = _Batch(
        *(work, units, None if len(left) == len(units) else left, receipts.url, keep_going),
        stage=stage.name,
    )
    with closing(executor.run(runner, batches, at_once=at_once)) as results:
        for index, found in results:
            batch = left[batches[index]["start"] : batches[index]["stop"]]
            bad = {at: errors.of_class(kind, said) for at, kind, said in found["errors"]}
            failed |= bad
            receipts.mark(batch[~np.isin(batch, list(bad))])
            counter.add(batch, found["bytes"])
    return failed


def _batch_size(n_units: int, n_workers: int) -> int:
    most = n_units // max(_BATCHES, _BATCHES_PER_WORKER * n_workers)
    return max(1, min(most, _MOST_IN_BATCH))


@dataclass(eq=False)
class _Batch:
    """Work of batches: does their units one after the other and writes the receipts."""

    work: Work
    units: Sequence[Unit]
    left: NDArray[np.int64] | None
    """Index of each unit to do; None where these are all."""
    receipts: str
    """URL that receipts are written to."""
    keep_going: bool
    flush_s: float = 5.0
    """Until receipts are written, at least, in seconds."""
    flush_share: float = 0.1
    """Of the time since the batch began: long ones write few files, and a kill costs a tenth."""
    stage: str = ""
    """As `Progress` says it, for logs."""
    is_stopped: bool = False
    """Whether threads that are at work begin no further unit."""

    def stop(self) -> None:
        """Let the threads of this process end after the units that they are doing."""
        self.is_stopped = True

    @property
    def load(self) -> Callable[[], None]:
        """Load what the threads of a process share."""
        return getattr(self.work, "load", lambda: None)

    def __call__(self, batch: Unit) -> Receipt:
        """Do the units at positions [start, stop) of those that are left."""
        writer, failed = _BatchReceipts(self), list[tuple[int, str, str]]()
        try:
            for position in range(batch["start"], batch["stop"]):
                if self.is_stopped:
                    break
                index = position if self.left is None else int(self.left[position])
                unit = self.units[index]
                try:
                    writer.add((index, unit, self.work(unit)))
                except UserInputError as error:
                    if not self.keep_going:
                        raise
                    failed.append((index, type(error).__name__, str(error)))
        except BaseException:
            writer.flush()
            raise
        writer.finish()
        return {"bytes": writer.n_bytes, "errors": failed}


class _BatchReceipts:
    """The receipts of one batch: written now and then, and once more as one file at the end."""

    def __init__(self, batch: _Batch) -> None:
        self._url, self._rows, self._files = batch.receipts, list[Row](), list[str]()
        self._flush_s, self._flush_share = batch.flush_s, batch.flush_share
        self._began = self._flushed_at = time.monotonic()
        self._n_flushed = self.n_bytes = 0

    def add(self, row: Row) -> None:
        """Keep a receipt; write what is kept when it is time."""
        self._rows.append(row)
        self.n_bytes += int(row[2].get("bytes", 0))
        now = time.monotonic()
        if now - self._flushed_at > max(self._flush_s, self._flush_share * (now - self._began)):
            self.flush()
            self._flushed_at = now

    def flush(self) -> None:
        """Write what has not been written."""
        if rows := self._rows[self._n_flushed :]:
            self._files.append(write_receipts(self._url, rows))
            self._n_flushed = len(self._rows)

    def finish(self) -> None:
        """Write all of them as one file."""
        if not self._files:
            self.flush()
        elif len(self._files) > 1 or self._n_flushed < len(self._rows):
            write_receipts(self._url, self._rows)
            for file in self._files:
                urls.delete(file)


class _ProgressCounter:
    """Counts what is done, and says so."""

    def __init__(
        self, units: Sequence[Unit], receipts: Receipts, stage: Stage, on_event: Subscriber
    ) -> None:
        self._units, self._stage, self._on_event = units, stage, on_event
        self._total = units.total if isinstance(units, Ranges) else sum(map(_amount, units))
        self._done = sum(_amount(units[int(i)]) for i in np.flatnonzero(receipts.done))
        self._bytes = 0
        self._say()  # what an earlier run has done; rates count from here

    def add(self, indices: NDArray[np.int64], n_bytes: int) -> None:
        """Count units that finished now; bytes are those of this run alone, for the rate."""
        self._done += sum(_amount(self._units[int(i)]) for i in indices)
        self._bytes += n_bytes
        self._say()

    def _say(self) -> None:
        stage = self._stage
        self._on_event(Progress(stage.name, self._done, self._total, stage.unit, self._bytes))


def _amount(unit: Unit) -> int:
    return unit["stop"] - unit["start"]
