"""The stages of a transposition, each a list of units (`atlasstore.resume.units`).

1. `read_inputs`: every input once, into pieces. The inputs are checksummed along with it.
2. `totals`: what each cell and each peak has, added up from the pieces' heads.
3. `kept_depths`: the pieces once, only when a peak goes.
4. `write_labels`: a block's pieces once, and once for each range of its peaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.resume.units import Receipt, Stage, Unit, run_units
from atlasstore.transpose.block_writer import write_block
from atlasstore.transpose.memory_plan import plan_labels, plan_reads, spans
from atlasstore.transpose.read_spans import Span, read_span, span_depth, span_totals
from atlasstore.transpose.scratch_files import Piece, read_numbers, write_numbers
from atlasstore.zarrio import formats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from atlasstore.errors import UserInputError
    from atlasstore.events import Subscriber
    from atlasstore.resume.ledger import Ledger
    from atlasstore.resume.machine import Machine
    from atlasstore.resume.units import Executor, Work
    from atlasstore.transpose.block_writer import BlockTask
    from atlasstore.transpose.memory_plan import LabelPlan
    from atlasstore.transpose.read_spans import OpenCounts

__all__ = ["ReadSpan", "Stages", "label_plan"]


@dataclass(frozen=True, slots=True)
class ReadSpan:
    """A span that was read."""

    name: str
    input: int
    pieces: tuple[Piece, ...]
    error: UserInputError | None = None
    """Why the input cannot be used."""


def label_plan(
    machine: Machine,
    block_positives: Sequence[int],
    *,
    n_peaks_in: int,
    n_peaks: int,
    piece_positives: int,
) -> LabelPlan:
    """Plan the last stage with the stored arrays' shards."""
    from atlasstore.atlas.writer import ARRAY_SIZES

    return plan_labels(
        machine,
        n_peaks_in=n_peaks_in,
        n_peaks=n_peaks,
        piece_positives=piece_positives,
        block_positives=block_positives,
        shard_bytes=ARRAY_SIZES.index_shard_bytes,
    )


class Stages:
    """The stages of one job, run by its executor, remembered in its ledger."""

    def __init__(self, ledger: Ledger, executor: Executor, on_event: Subscriber) -> None:
        self._ledger, self._executor, self._on_event = ledger, executor, on_event
        self._described: dict[str, dict[str, Any]] = {}

    def read_inputs(
        self,
        inputs: Sequence[tuple[OpenCounts, int]],
        *,
        n_peaks: int,
        least: int,
        files: Sequence[str],
        skip_bad: bool,
    ) -> list[ReadSpan]:
        """Read every input, in spans of cells, and checksum `files`; see `read_spans.read_span`.

        Parameters
        ----------
        inputs
            How each is opened, and its number of cells.

        Raises
        ------
        UserInputError
            From an input, unless `skip_bad`: then its spans carry the error.
        """
        plan = plan_reads(self._executor.machine(), n_peaks)
        work = _ReadInputs(
            tuple(open_counts for open_counts, _ in inputs),
            tuple(files),
            self._ledger.scratch,
            n_peaks,
            least,
            plan.positives_per_read,
        )
        units = [*_file_units(files), *_span_units(n_cells for _, n_cells in inputs)]
        receipts = self._ledger.receipts("read", units)
        failed = run_units(
            units,
            work,
            receipts=receipts,
            executor=self._executor,
            stage=Stage("reading counts", "cells"),
            on_event=self._on_event,
            at_once=plan.workers,
            keep_going=skip_bad,
        )
        found = dict(receipts)
        for error in (failed[i] for i in range(len(files)) if i in failed):
            raise error
        self._described = {name: found[i]["described"] for i, name in enumerate(files)}
        at = range(len(files), len(units))
        return [_read(units[i], found.get(i, {}), failed.get(i)) for i in at]

    def descriptions(self, files: Sequence[str]) -> list[dict[str, Any]]:
        """Return what was found of the files that `read_inputs` checksummed."""
        return [self._described[name] for name in files]

    def totals(
        self, read: Sequence[ReadSpan], n_peaks: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return each cell's open peaks, and in how many counted cells each peak is open."""
        n_open, with_peak = [], np.zeros(n_peaks, np.int64)
        for span in read:
            of_cells, of_peaks = span_totals(span.name, span.pieces, scratch=self._ledger.scratch)
            n_open.append(of_cells)
            with_peak += of_peaks
        return np.concatenate(n_open).astype(np.int64), with_peak

    def kept_depths(self, read: Sequence[ReadSpan], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return each cell's open peaks among the kept ones."""
        scratch = self._ledger.scratch
        cells = [sum(piece.n_cells for piece in span.pieces) for span in read]
        units = [{"span": i, "start": 0, "stop": n} for i, n in enumerate(cells)]
        self._run("depths", units, _KeptDepths(tuple(read), scratch, kept), "counting kept peaks")
        depths = [read_numbers(scratch, _depth_name(span)) for span in read]
        return np.concatenate(depths).astype(np.int64)

    def write_labels(self, tasks: Sequence[BlockTask], plan: LabelPlan) -> list[int]:
        """Write every part; return the positives of each."""
        work = _WriteBlocks(
            tuple(tasks), self._ledger.store, self._ledger.scratch, plan.positives_per_range
        )
        units = [{"part": i, "start": 0, "stop": t.part.n_cells} for i, t in enumerate(tasks)]
        receipts = self._run("labels", units, work, "writing labels", at_once=plan.workers)
        return [int(receipt["n_positives"]) for receipt in receipts]

    def _run(
        self, name: str, units: Sequence[Unit], work: Work, said: str, *, at_once: int | None = None
    ) -> list[Receipt]:
        receipts = self._ledger.receipts(name, units)
        run_units(
            units,
            work,
            receipts=receipts,
            executor=self._executor,
            stage=Stage(said, "cells"),
            on_event=self._on_event,
            at_once=at_once,
        )
        return receipts.load()


def _file_units(files: Sequence[str]) -> list[Unit]:
    return [{"file": index, "start": 0, "stop": 0} for index in range(len(files))]


def _span_units(cells: Iterable[int]) -> list[Unit]:
    return [
        {"input": index, "start": start, "stop": stop}
        for index, n_cells in enumerate(cells)
        for start, stop in spans(n_cells)
    ]


def _span_name(unit: Unit) -> str:
    return f"span-{unit['input']}-{unit['start']}"


def _read(unit: Unit, receipt: Receipt, error: UserInputError | None) -> ReadSpan:
    pieces = tuple(Piece(**values) for values in receipt.get("pieces", ()))
    return ReadSpan(_span_name(unit), unit["input"], pieces, error)


@dataclass(frozen=True, eq=False, slots=True)
class _ReadInputs:
    """Work: read one span into pieces, or checksum one file."""

    inputs: tuple[OpenCounts, ...]
    files: tuple[str, ...]
    scratch: str
    n_peaks: int
    least: int
    positives_per_read: int

    def __call__(self, unit: Unit) -> Receipt:
        if "file" in unit:
            return {"described": formats.describe_input(self.files[unit["file"]])}
        span = Span(_span_name(unit), self.inputs[unit["input"]], unit["start"], unit["stop"])
        return read_span(
            span,
            scratch=self.scratch,
            n_peaks=self.n_peaks,
            least=self.least,
            positives_per_read=self.positives_per_read,
        )


@dataclass(frozen=True, eq=False, slots=True)
class _KeptDepths:
    """Work: count the kept peaks of one span's cells."""

    read: tuple[ReadSpan, ...]
    scratch: str
    kept: NDArray[np.bool_]

    def __call__(self, unit: Unit) -> Receipt:
        span = self.read[unit["span"]]
        depth = span_depth(span.pieces, scratch=self.scratch, kept=self.kept)
        write_numbers(self.scratch, _depth_name(span), depth)
        return {}


def _depth_name(span: ReadSpan) -> str:
    return f"{span.name}/kept_depth"


@dataclass(frozen=True, eq=False, slots=True)
class _WriteBlocks:
    """Work: write the labels of one part."""

    tasks: tuple[BlockTask, ...]
    store: str
    scratch: str
    positives_per_range: int

    def __call__(self, unit: Unit) -> Receipt:
        return write_block(
            self.tasks[unit["part"]],
            store=self.store,
            scratch=self.scratch,
            positives_per_range=self.positives_per_range,
        )
