"""The stages of a transposition, each a list of independent units that the ledger remembers.

1. `read_inputs`: every input once, into pieces. Beside it inputs are checksummed.
2. `totals`: what each cell and each peak has, added up from the pieces' heads.
3. `kept_depths`: the pieces once, only when a peak goes.
4. `write_labels`: a block's pieces once, and once for each range of its peaks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.errors import CountsError
from atlasstore.events import Progress
from atlasstore.transpose.block_writer import write_block
from atlasstore.transpose.memory_plan import plan_labels, plan_reads, spans
from atlasstore.transpose.read_spans import Span, read_span, span_depth, span_totals
from atlasstore.transpose.scratch_files import Piece
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.resume.ledger import Ledger
    from atlasstore.transpose.block_writer import BlockTask
    from atlasstore.transpose.executors import Workers
    from atlasstore.transpose.memory_plan import LabelPlan, Machine
    from atlasstore.transpose.read_spans import OpenCounts

__all__ = ["ReadSpan", "Stages", "label_plan", "plan_spans", "run_units"]


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """A span that was read."""

    unit: str
    input: int
    pieces: tuple[Piece, ...]
    error: str | None = None
    """Why the input cannot be used."""


def plan_spans(inputs: Iterable[tuple[OpenCounts, int]]) -> list[Span]:
    """Return the reading tasks of all inputs, each with its number of cells, in order."""
    return [
        Span(index, counts, start, stop)
        for index, (counts, n_cells) in enumerate(inputs)
        for start, stop in spans(n_cells)
    ]


def label_plan(
    machine: Machine,
    block_positives: Sequence[int],
    *,
    n_peaks_in: int,
    n_peaks: int,
    piece_positives: int,
) -> LabelPlan:
    """Plan the last stage with the stored arrays' shards."""
    from atlasstore.atlas.writer import INDEX_SHARD_BYTES

    return plan_labels(
        machine,
        n_peaks_in=n_peaks_in,
        n_peaks=n_peaks,
        piece_positives=piece_positives,
        block_positives=block_positives,
        shard_bytes=INDEX_SHARD_BYTES,
    )


class Stages:
    """The stages of one job, run by its workers, remembered in its ledger."""

    def __init__(self, ledger: Ledger, workers: Workers, on_event: Subscriber) -> None:
        self._ledger, self._workers, self._tell = ledger, workers, on_event

    def read_inputs(
        self,
        spans: Sequence[Span],
        *,
        n_peaks: int,
        least: int,
        files: Sequence[str],
        skip_bad: bool,
    ) -> list[ReadSpan]:
        """Read every span, and checksum `files`; see `reading.read_span`.

        Raises
        ------
        CountsError
            From an input, unless `skip_bad`: then its spans carry the sentence.
        """
        plan = plan_reads(self._workers.machine(), n_peaks)
        read = partial(
            _read_or_say if skip_bad else read_span,
            scratch=self._ledger.scratch,
            n_peaks=n_peaks,
            least=least,
            positives_per_read=plan.positives_per_read,
        )
        cells = {span.unit: span.stop - span.start for span in spans}
        tasks = {_file_unit(name): partial(_describe, name) for name in files}
        tasks |= {span.unit: partial(read, span) for span in spans}
        self._run(tasks, "reading counts", cells, n_workers=plan.workers)
        return [self._read_span(span) for span in spans]

    def descriptions(self, files: Sequence[str]) -> list[dict[str, Any]]:
        """Return what was found of the files that `read_inputs` checksummed."""
        receipts = (self._ledger.receipt(_file_unit(name)) for name in files)
        return [receipt["described"] for receipt in receipts if receipt is not None]

    def totals(
        self, read: Sequence[ReadSpan], n_peaks: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each cell's open peaks, and in how many counted cells each peak is open."""
        n_open, with_peak = [], np.zeros(n_peaks, np.int64)
        for span in read:
            of_cells, of_peaks = span_totals(span.unit, span.pieces, scratch=self._ledger.scratch)
            n_open.append(of_cells)
            with_peak += of_peaks
        return np.concatenate(n_open).astype(np.int64), with_peak

    def kept_depths(self, read: Sequence[ReadSpan], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return each cell's open peaks among the kept ones."""
        found: dict[str, NDArray[np.uint32]] = {}
        done, total = 0, sum(piece.n_cells for span in read for piece in span.pieces)

        def finished(result: tuple[str, NDArray[np.uint32]]) -> None:
            nonlocal done
            found[result[0]] = result[1]
            done += len(result[1])
            self._tell(Progress("counting kept peaks", done, total, "cells"))

        depth = partial(_depth, scratch=self._ledger.scratch, kept=kept)
        machine = self._workers.machine()
        self._workers.run(
            [partial(depth, span) for span in read], n_workers=machine.cores, on_done=finished
        )
        return np.concatenate([found[span.unit] for span in read]).astype(np.int64)

    def write_labels(self, tasks: Sequence[BlockTask], plan: LabelPlan) -> list[int]:
        """Write every part; return the positives of each."""
        write = partial(
            write_block,
            store=self._ledger.store,
            scratch=self._ledger.scratch,
            positives_per_range=plan.positives_per_range,
        )
        cells = {task.unit: task.part.n_cells for task in tasks}
        todo = {task.unit: partial(write, task) for task in tasks}
        self._run(todo, "writing labels", cells, n_workers=plan.workers)
        receipts = (self._ledger.receipt(task.unit) for task in tasks)
        return [int(receipt["n_positives"]) for receipt in receipts if receipt is not None]

    def _run(
        self, tasks: dict[str, Any], stage: str, cells: dict[str, int], *, n_workers: int
    ) -> None:
        run_units(
            tasks,
            self._ledger,
            self._workers,
            stage=stage,
            sizes=cells,
            unit="cells",
            n_workers=n_workers,
            on_event=self._tell,
        )

    def _read_span(self, span: Span) -> ReadSpan:
        receipt = self._ledger.receipt(span.unit) or {}
        pieces = tuple(Piece(**values) for values in receipt.get("pieces", ()))
        return ReadSpan(span.unit, span.input, pieces, receipt.get("error"))


def _read_or_say(span: Span, **arguments: Any) -> dict[str, Any]:
    try:
        return read_span(span, **arguments)
    except CountsError as error:
        return {"unit": span.unit, "error": str(error)}


def run_units(
    tasks: Mapping[str, Callable[[], dict[str, Any]]],
    ledger: Ledger,
    workers: Workers,
    *,
    stage: str,
    sizes: Mapping[str, int],
    unit: str,
    n_workers: int,
    on_event: Subscriber,
) -> None:
    """Run the units that have no receipt yet, and record each when it is finished.

    Parameters
    ----------
    tasks
        Name of the unit -> what does it and returns its receipt, which holds the name.
    ledger, workers
        Where they are recorded, who runs them.
    stage, sizes, unit
        How progress is told: name of the unit -> how many of `unit` it finishes; nothing is told
        of a unit without.
    n_workers
        At a time.
    on_event
        Hears the progress.
    """
    left = [task for name, task in tasks.items() if ledger.receipt(name) is None]
    done = sum(n for name, n in sizes.items() if ledger.receipt(name) is not None)

    def finished(receipt: dict[str, Any]) -> None:
        nonlocal done
        ledger.record(receipt["unit"], receipt)
        if size := sizes.get(receipt["unit"]):
            done += size
            on_event(Progress(stage, done, sum(sizes.values()), unit))

    workers.run(left, n_workers=n_workers, on_done=finished)


def _file_unit(url: str) -> str:
    return f"file-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _describe(url: str) -> dict[str, Any]:
    return {"unit": _file_unit(url), "described": formats.describe_input(url)}


def _depth(
    span: ReadSpan, *, scratch: str, kept: NDArray[np.bool_]
) -> tuple[str, NDArray[np.uint32]]:
    return span.unit, span_depth(span.pieces, scratch=scratch, kept=kept)
