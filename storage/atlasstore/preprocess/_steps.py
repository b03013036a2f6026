"""The work of `preprocess`, step by step: survey, read, choose, write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.atlas.split import SPLITS, held_out_overlap
from atlasstore.atlas.writer import (
    ARRAY_SIZES,
    ArraySizes,
    AtlasShape,
    begin_atlas,
    finish_atlas,
    sequence_rows,
)
from atlasstore.cards.store_card import refresh_card
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.genome.fasta import check_peaks, lies_on, unplaced_sentence
from atlasstore.genome.peak_check import PeakCheck
from atlasstore.genome.sequences import window_starts
from atlasstore.inputs.kinds import files_of
from atlasstore.preprocess._inputs import Inputs, look_at_inputs, read_inputs
from atlasstore.preprocess._peak_check import check_peak_sequences
from atlasstore.preprocess._sequences import WriteSequences
from atlasstore.preprocess._split import split_table
from atlasstore.preprocess.filters import choose, filter_counts
from atlasstore.preprocess.report import PreprocessReport, WorkPlan
from atlasstore.resume.executors import ThreadExecutor
from atlasstore.resume.units import Ranges, Stage, run_units
from atlasstore.transpose.block_writer import plan_blocks
from atlasstore.transpose.memory_plan import expected_passes, plan_reads, plan_sequences
from atlasstore.transpose.stages import Stages, label_plan
from atlasstore.zarrio import blocks, formats, tables
from atlasstore.zarrio.tidy import set_aside

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.genome.fasta import Genome
    from atlasstore.preprocess._settings import Settings
    from atlasstore.preprocess.filters import FilterResult, FilterSpec
    from atlasstore.resume.ledger import Ledger
    from atlasstore.resume.units import Executor, Receipt
    from atlasstore.transpose.memory_plan import LabelPlan
    from atlasstore.transpose.stages import ReadSpan

__all__ = ["PreprocessSteps", "label_rows"]

_SEQUENCE_COMPRESSION = 16
_INDEX_COMPRESSION = 1.4
"""How many times smaller stored bytes are than the arrays: for the estimate of a dry run only."""
_SCRATCH_BYTES = 1.6
"""Of an open peak."""
_MANY = 1 << 40
"""Positives of a block that certainly needs as much as any."""


@dataclass(frozen=True, slots=True)
class _Atlas:
    """What will be written."""

    obs: pd.DataFrame
    var: pd.DataFrame
    shape: AtlasShape
    parts: tuple[blocks.CellPart, ...]
    positives: list[int]
    """Of each part."""
    filtered: FilterResult


class PreprocessSteps:
    """One call of `preprocess`, its arguments checked.

    Parameters
    ----------
    settings
        The resolved arguments.
    spec
        The filters among them.
    genome
        The open FASTA.
    executor
        Who reads and writes.
    on_event
        Called with each `Progress` and `Notice`.
    sizes
        Of the atlas's arrays.
    """

    def __init__(
        self,
        settings: Settings,
        spec: FilterSpec,
        genome: Genome,
        executor: Executor,
        on_event: Subscriber,
        sizes: ArraySizes = ARRAY_SIZES,
    ) -> None:
        self._settings, self._spec, self._genome, self._sizes = settings, spec, genome, sizes
        self._executor, self._tell = executor, on_event
        self.n_peaks_unplaced = 0

    def plan(self, out: str, scratch: str) -> PreprocessReport:
        """Read and plan; what is in `scratch` afterwards is of no use."""
        inputs = self._survey(scratch)
        n_peaks = len(inputs.peaks)
        reading = plan_reads(self._executor.machine(), n_peaks)
        filtered = filter_counts(
            inputs.sources,
            self._spec,
            positives_per_read=reading.positives_per_read,
            on_event=self._tell,
        )
        atlas = self._atlas(inputs, filtered)
        looks = self._look_at_peaks(atlas)
        labels = self._label_plan(atlas, n_peaks, reading.positives_per_read)
        work = self._work(inputs, atlas, labels, reading.peak_bytes)
        return self._report(out, inputs, atlas, work, looks)

    def make(self, ledger: Ledger) -> PreprocessReport:
        """Write the atlas at ``ledger.store``, finished."""
        if (done := ledger.receipt("report")) is not None:  # but for its publication
            return PreprocessReport.from_json(done)
        stages = Stages(ledger, self._executor, self._tell)
        inputs = self._survey(urls.join(ledger.scratch, "inputs"))
        peak = self._check_memory(len(inputs.peaks))
        inputs, read = self._read(inputs, stages)
        atlas = self._atlas(inputs, self._chosen(inputs, stages, read))
        seen = ledger.receipt("peaks") or ledger.record(
            "peaks", self._look_at_peaks(atlas).as_json()
        )
        self._begin(ledger, atlas)
        windows = self._write_sequences(ledger, atlas)
        n_unknown = sum(int(window["n_unknown"]) for window in windows)
        labels = self._write_labels(ledger, stages, read, atlas)
        self._finish(
            ledger,
            stages,
            inputs,
            atlas,
            sequence_checksums=[int(window["crc32"]) for window in windows],
            peak_check={**seen, "n_unknown_windows": n_unknown},
        )
        work = self._work(inputs, atlas, labels, peak)
        report = self._report(
            ledger.out,
            inputs,
            atlas,
            work,
            PeakCheck(**seen),
            n_unknown=n_unknown,
            stored_bytes=urls.stored_bytes(ledger.store),
        )
        ledger.record("report", report.as_json())
        return report

    def _read(self, inputs: Inputs, stages: Stages) -> tuple[Inputs, Sequence[ReadSpan]]:
        """Return the inputs that could be read, and what was read."""
        return read_inputs(
            inputs,
            stages,
            least=self._spec.min_peaks_per_cell,
            files=_files(inputs, self._settings),
            skip_bad=self._settings.skip_bad,
            on_event=self._tell,
        )

    def _chosen(self, inputs: Inputs, stages: Stages, read: Sequence[ReadSpan]) -> FilterResult:
        return choose(
            *stages.totals(read, len(inputs.peaks)),
            partial(stages.kept_depths, read),
            self._spec,
            cells_of_source=inputs.sizes,
        )

    def _check_memory(self, n_peaks: int) -> int:
        """Refuse too little memory before the work; return the peak of reading."""
        machine = self._executor.machine()
        reading = plan_reads(machine, n_peaks)
        label_plan(
            machine,
            [_MANY],
            n_peaks_in=n_peaks,
            n_peaks=n_peaks,
            piece_positives=reading.positives_per_read,
        )
        stored_bp = self._settings.window_bp + 2 * self._settings.flank_bp
        _, run_peaks = sequence_rows(n_peaks, stored_bp, self._sizes)
        plan_sequences(machine, run_peaks=run_peaks, stored_bp=stored_bp)
        return reading.peak_bytes

    def _survey(self, scratch: str) -> Inputs:
        inputs = look_at_inputs(
            self._settings.samples,
            scratch,
            self._executor,
            self._tell,
            peaks=self._settings.peaks,
            min_mapq=self._settings.min_mapq,
            matrix=self._settings.matrix,
            skip_bad=self._settings.skip_bad,
        )
        if self._settings.drop_unplaced_peaks:
            inputs = self._placed(inputs)
        check_peaks(inputs.peaks, self._genome)
        for table in (inputs.joined_obs(), inputs.peaks):  # before anything is read
            for sentence in tables.check_writable(table):
                self._tell(Notice(sentence))
        return inputs

    def _placed(self, inputs: Inputs) -> Inputs:
        """Leave out the peaks that do not lie on the genome, unless none does."""
        placed = lies_on(inputs.peaks, self._genome)
        self.n_peaks_unplaced = int((~placed).sum())
        if not self.n_peaks_unplaced or not placed.any():
            return inputs
        self._tell(Notice(unplaced_sentence(inputs.peaks[~placed], len(placed), self._genome)))
        return inputs.with_peaks(np.flatnonzero(placed))

    def _atlas(self, inputs: Inputs, filtered: FilterResult) -> _Atlas:
        for sentence in filtered.removed():
            self._tell(Notice(sentence))
        settings, kept = self._settings, np.concatenate(filtered.cells)
        obs = set_aside(inputs.joined_obs()[kept], "n_peaks")
        obs["n_peaks"] = filtered.depth
        var = set_aside(inputs.peaks[filtered.peaks], "split")
        var["split"] = split_table(var, settings, self._tell)
        block_cells = blocks.plan_cell_blocks(len(obs), min_blocks=settings.min_blocks)[0].n_cells
        window = settings.window_bp, settings.flank_bp
        shape = AtlasShape(len(obs), len(var), block_cells, *window, self._sizes)
        parts = blocks.plan_parts([0, len(obs)], block_cells)
        starts = [part.start for part in parts]
        positives = np.add.reduceat(filtered.depth, starts).tolist()
        return _Atlas(obs, var, shape, parts, positives, filtered)

    def _look_at_peaks(self, atlas: _Atlas) -> PeakCheck:
        return check_peak_sequences(
            atlas.var, atlas.filtered.n_open, self._genome, self._settings, self._tell
        )

    def _begin(self, ledger: Ledger, atlas: _Atlas) -> None:
        if ledger.receipt("begin") is None:
            urls.delete(ledger.store)  # what a killed process left
            begin_atlas(ledger.store, atlas.shape, obs=atlas.obs, var=atlas.var)
            ledger.record("begin", {})

    def _write_sequences(self, ledger: Ledger, atlas: _Atlas) -> list[Receipt]:
        """Return what was written of each range of peaks, see `WriteSequences`."""
        shape, machine = atlas.shape, self._executor.machine()
        run_peaks = shape.sequence_runs()[0][1]
        at_once, _ = plan_sequences(machine, run_peaks=run_peaks, stored_bp=shape.stored_bp)
        units = Ranges(shape.n_peaks, run_peaks)
        work = WriteSequences(
            store=ledger.store,
            genome=self._genome
            if isinstance(self._executor, ThreadExecutor)
            else self._settings.genome,
            chrom=atlas.var["chrom"].astype(str).to_numpy(),
            starts=_starts(atlas),
            length=shape.stored_bp,
        )
        receipts = ledger.receipts("sequences", units)
        run_units(
            units,
            work,
            receipts=receipts,
            executor=self._executor,
            stage=Stage("writing sequences", "peaks"),
            on_event=self._tell,
            at_once=at_once,
        )
        return receipts.load()

    def _write_labels(
        self, ledger: Ledger, stages: Stages, read: Sequence[ReadSpan], atlas: _Atlas
    ) -> LabelPlan:
        pieces = [piece for span in read for piece in span.pieces]
        tasks = plan_blocks(
            atlas.parts,
            pieces,
            kept=np.concatenate(atlas.filtered.cells),
            rows=label_rows(atlas.filtered.peaks),
        )
        largest = max(piece.n_positives for piece in pieces)
        plan = self._label_plan(atlas, len(atlas.filtered.peaks), largest)
        written = stages.write_labels(tasks, plan)
        assert written == atlas.positives
        return plan

    def _label_plan(self, atlas: _Atlas, n_peaks_in: int, piece_positives: int) -> LabelPlan:
        return label_plan(
            self._executor.machine(),
            atlas.positives,
            n_peaks_in=n_peaks_in,
            n_peaks=atlas.shape.n_peaks,
            piece_positives=piece_positives,
        )

    def _finish(
        self,
        ledger: Ledger,
        stages: Stages,
        inputs: Inputs,
        atlas: _Atlas,
        *,
        sequence_checksums: Sequence[int],
        peak_check: dict[str, Any],
    ) -> None:
        described = stages.descriptions(_files(inputs, self._settings))
        config = self._settings.as_config()
        if inputs.left_out:
            config["left_out"] = inputs.left_out
        provenance = formats.provenance(
            described, config, self._settings.seed, created=ledger.started
        )
        provenance["peak_check"] = peak_check
        finish_atlas(
            ledger.store,
            atlas.shape,
            block_positives=atlas.positives,
            sequence_checksums=sequence_checksums,
            provenance=provenance,
        )
        refresh_card(ledger.store)

    def _work(
        self, inputs: Inputs, atlas: _Atlas, labels: LabelPlan, reading_peak: int
    ) -> WorkPlan:
        machine, shape = self._executor.machine(), atlas.shape
        run_peaks = shape.sequence_runs()[0][1]
        _, sequences = plan_sequences(machine, run_peaks=run_peaks, stored_bp=shape.stored_bp)
        files = _files(inputs, self._settings)
        return WorkPlan(
            input_bytes=sum(urls.stored_bytes(name) for name in files),
            scratch_bytes=round(_SCRATCH_BYTES * atlas.filtered.n_positives),
            workers=labels.workers,
            passes=expected_passes(max(atlas.positives), labels.positives_per_range),
            peak_memory_bytes=max(reading_peak, labels.peak_bytes, sequences),
            memory_bytes=machine.memory_bytes,
        )

    def _report(
        self,
        out: str,
        inputs: Inputs,
        atlas: _Atlas,
        work: WorkPlan,
        peak_check: PeakCheck,
        *,
        n_unknown: int | None = None,
        stored_bytes: int | None = None,
    ) -> PreprocessReport:
        filtered = atlas.filtered
        by_split = atlas.var["split"].value_counts()
        by_sample = atlas.obs["sample"].value_counts()
        return PreprocessReport(
            out=out,
            dry_run=stored_bytes is None,
            n_cells_in=filtered.n_cells_in,
            n_peaks_in=len(filtered.peaks) + self.n_peaks_unplaced,
            n_peaks_unplaced=self.n_peaks_unplaced,
            n_cells_few_peaks=filtered.n_cells_few_peaks,
            n_peaks_rare=filtered.n_peaks_rare,
            n_cells_emptied=filtered.n_cells_emptied,
            n_cells=filtered.n_cells,
            n_peaks=filtered.n_peaks,
            n_positives=filtered.n_positives,
            density=filtered.n_positives / (filtered.n_cells * filtered.n_peaks),
            n_blocks=len(atlas.parts),
            block_cells=atlas.shape.block_cells,
            splits={split: int(by_split[split]) for split in SPLITS},
            split=self._settings.split,
            held_out_overlap=held_out_overlap(
                atlas.var, window_bp=atlas.shape.window_bp, flank_bp=atlas.shape.flank_bp
            ),
            peak_check=peak_check,
            n_unknown_windows=n_unknown,
            samples={str(name): int(count) for name, count in by_sample.items()},
            left_out=inputs.left_out,
            stored_bytes=_estimated_bytes(atlas) if stored_bytes is None else stored_bytes,
            work=work,
        )


def label_rows(kept: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the atlas's row of each peak read, -1 for one that is not kept."""
    return np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)


def _files(inputs: Inputs, settings: Settings) -> list[str]:
    """Return the files that were read, for the provenance."""
    of_samples = [name for source in inputs.sources for name in files_of(source.spec)]
    lists = [sample.barcodes for sample in inputs.samples]
    given = [*of_samples, settings.genome, settings.peaks, *lists]
    return [name for name in dict.fromkeys(given) if name is not None]


def _starts(atlas: _Atlas) -> NDArray[np.int64]:
    return window_starts(
        atlas.var["start"].to_numpy(np.int64),
        atlas.var["end"].to_numpy(np.int64),
        window_bp=atlas.shape.window_bp,
        flank_bp=atlas.shape.flank_bp,
    )


def _estimated_bytes(atlas: _Atlas) -> int:
    shape = atlas.shape
    sequence = shape.n_peaks * shape.stored_bp * 4 / _SEQUENCE_COMPRESSION
    labels = 2 * atlas.filtered.n_positives / _INDEX_COMPRESSION
    edges = 2 * (shape.n_peaks + 1) * len(atlas.parts)  # int64, about 4 times smaller stored
    return round(sequence + labels + edges)
