"""Counts and a genome in, an atlas out.

Counts are read in runs of cells: once or twice to decide what stays (see `filters`), once to write.
In memory are one run, one cell block and one run of sequences, never the whole matrix of an input
that is stored by cells. Everything is checked before the first byte is written.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasstore import blocks, formats, urls
from atlasstore._atlas_writer import AtlasWriter, write_atlas
from atlasstore._preprocess_report import PreprocessReport
from atlasstore.cell_runs import kept_runs, read_runs, regroup
from atlasstore.events import Notice, Progress, Subscriber, ignore
from atlasstore.filters import FilterResult, FilterSpec, filter_counts
from atlasstore.genome import Genome, check_peaks
from atlasstore.samples import (
    check_same_peaks,
    join_obs,
    refuse_duplicates,
    sample_names,
    set_aside,
)
from atlasstore.sequences import check_window, window_starts
from atlasstore.split import SPLITS, check_fractions, split_peaks
from atlasstore.staging import refuse_existing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from atlasstore.inputs.source import CountsSource

__all__ = ["PreprocessReport", "preprocess"]

_SEQUENCE_COMPRESSION = 16
_INDEX_COMPRESSION = 1.4
"""How many times smaller stored bytes are than the arrays: for the estimate of a dry run only."""


@dataclass(frozen=True, slots=True)
class _Settings:
    """The resolved arguments, as they go into the atlas's provenance."""

    inputs: tuple[str, ...]
    genome: str
    peaks: str | None
    barcodes: str | tuple[str, ...] | None
    min_cell_fraction: float
    min_peaks_per_cell: int
    window_bp: int
    flank_bp: int
    split_fractions: tuple[float, float, float]
    holdout: tuple[str, ...]
    seed: int
    samples: tuple[str, ...]

    @property
    def files(self) -> list[str]:
        """Everything that is read."""
        lists = (self.barcodes,) if isinstance(self.barcodes, str) else self.barcodes or ()
        given = (*self.inputs, self.genome, self.peaks, *lists)
        return [name for name in given if name is not None]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be written."""

    obs: pd.DataFrame
    var: pd.DataFrame
    cell_blocks: tuple[blocks.CellBlock, ...]
    filtered: FilterResult


def preprocess(
    inputs: str | Path | Sequence[str | Path],
    *,
    genome: str | Path,
    out: str | Path,
    peaks: str | Path | None = None,
    barcodes: str | Path | Sequence[str | Path] | None = None,
    min_cell_fraction: float = 0.01,
    min_peaks_per_cell: int = 1,
    window_bp: int = 1344,
    flank_bp: int = 3,
    split_fractions: Sequence[float] = (0.90, 0.05, 0.05),
    holdout: str | Sequence[str] = (),
    seed: int = 0,
    samples: str | Sequence[str] | None = None,
    dry_run: bool = False,
    on_event: Subscriber = ignore,
) -> PreprocessReport:
    """Make an atlas from counts and a genome.

    Parameters
    ----------
    inputs
        One input, or several samples on the same peaks: paths or URLs of AnnData ``.h5ad`` or
        ``.zarr``, 10x ``.h5``, 10x matrix folders, or fragments.
    genome
        FASTA on this machine, plain or compressed with bgzip.
    out
        Path or URL of the atlas; nothing may lie there.
    peaks
        BED or narrowPeak file, for inputs that are fragments.
    barcodes
        Barcode list, one for each input.
    min_cell_fraction
        A peak is kept when open (count > 0) in at least this share of the cells, 0..1.
    min_peaks_per_cell
        A cell is kept when at least this many peaks are open in it.
    window_bp
        Length of a peak's window in bp, a positive multiple of 192.
    flank_bp
        Bases stored beyond the window on either side, for shifted windows in training.
    split_fractions
        Shares of train, validation and test peaks.
    holdout
        Chromosomes whose peaks are the test peaks; the others are split into train and validation
        by the ratio of their fractions.
    seed
        Seed of the split.
    samples
        One name for each input, in place of the file names.
    dry_run
        Read and plan, but write nothing.
    on_event
        Hears notices and progress.

    Returns
    -------
    PreprocessReport
        Cells and peaks before and after each filter, positives, blocks, splits, bytes.

    Raises
    ------
    UserInputError
        When an input is wrong (`CountsError`, `PeaksError`, `GenomeError`), nothing is left after
        filtering, an argument is out of bounds, or `out` exists (`StoreExistsError`). Nothing is
        written then.
    """
    refuse_existing(out)
    check_window(window_bp, flank_bp)
    spec = FilterSpec(min_cell_fraction=min_cell_fraction, min_peaks_per_cell=min_peaks_per_cell)
    urls_in = _as_texts(inputs)
    settings = _Settings(
        inputs=urls_in,
        genome=str(genome),
        peaks=None if peaks is None else str(peaks),
        barcodes=None if barcodes is None else _as_texts(barcodes),
        min_cell_fraction=min_cell_fraction,
        min_peaks_per_cell=min_peaks_per_cell,
        window_bp=window_bp,
        flank_bp=flank_bp,
        split_fractions=check_fractions(split_fractions),
        holdout=_as_texts(holdout),
        seed=seed,
        samples=sample_names(urls_in, None if samples is None else _as_texts(samples)),
    )
    with ExitStack() as stack:
        fasta = stack.enter_context(Genome.open(genome))
        sources = _open(settings, stack, on_event)
        _check(sources, fasta)
        plan = _plan(sources, settings, spec, on_event)
        if not dry_run:
            _write(str(out), plan, settings, sources=sources, genome=fasta, on_event=on_event)
    stored = _estimated_bytes(plan, settings) if dry_run else _stored_bytes(str(out))
    return _report(str(out), plan, dry_run=dry_run, stored_bytes=stored)


def _as_texts(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    several = [given] if not isinstance(given, (list, tuple)) else given
    return tuple(str(item) for item in several)


def _open(settings: _Settings, stack: ExitStack, on_event: Subscriber) -> list[CountsSource]:
    from atlasstore.inputs import open_sources  # here: it imports every reader there is

    sources = open_sources(
        settings.inputs, peaks=settings.peaks, barcodes=settings.barcodes, on_event=on_event
    )
    for source in sources:
        stack.enter_context(closing(source))
    return sources


def _check(sources: Sequence[CountsSource], genome: Genome) -> None:
    check_same_peaks(sources)
    refuse_duplicates(sources[0].peaks)
    check_peaks(sources[0].peaks, genome)


def _plan(
    sources: Sequence[CountsSource], settings: _Settings, spec: FilterSpec, on_event: Subscriber
) -> _Plan:
    all_obs = join_obs(sources, settings.samples)
    filtered = filter_counts(sources, spec, on_event=on_event)
    for sentence in filtered.removed():
        on_event(Notice(sentence))
    obs = set_aside(all_obs[np.concatenate(filtered.cells)], "n_peaks")
    obs["n_peaks"] = filtered.depth
    var = set_aside(sources[0].peaks[filtered.peaks], "split")
    var["split"] = split_peaks(
        var["chrom"].astype(str).tolist(),
        fractions=settings.split_fractions,
        holdout=settings.holdout,
        seed=settings.seed,
    )
    return _Plan(obs, var, blocks.plan_cell_blocks(filtered.n_cells), filtered)


def _write(
    out: str,
    plan: _Plan,
    settings: _Settings,
    *,
    sources: Sequence[CountsSource],
    genome: Genome,
    on_event: Subscriber,
) -> None:
    provenance = formats.provenance(settings.files, dataclasses.asdict(settings), settings.seed)
    with write_atlas(
        out,
        obs=plan.obs,
        var=plan.var,
        cell_blocks=plan.cell_blocks,
        window_bp=settings.window_bp,
        flank_bp=settings.flank_bp,
        provenance=provenance,
    ) as writer:
        _write_sequences(writer, plan, settings, genome=genome, on_event=on_event)
        _write_labels(writer, plan, sources, on_event)


def _write_sequences(
    writer: AtlasWriter,
    plan: _Plan,
    settings: _Settings,
    *,
    genome: Genome,
    on_event: Subscriber,
) -> None:
    chrom = plan.var["chrom"].astype(str).to_numpy()
    starts = window_starts(
        plan.var["start"].to_numpy(np.int64),
        plan.var["end"].to_numpy(np.int64),
        window_bp=settings.window_bp,
        flank_bp=settings.flank_bp,
    )
    length = settings.window_bp + 2 * settings.flank_bp
    for start, stop in writer.sequence_runs():
        codes = genome.windows(chrom[start:stop].tolist(), starts[start:stop], length)
        writer.write_sequences(start, codes)
        on_event(Progress("writing sequences", stop, len(starts), "peaks"))


def _write_labels(
    writer: AtlasWriter, plan: _Plan, sources: Sequence[CountsSource], on_event: Subscriber
) -> None:
    cells, peaks = np.concatenate(plan.filtered.cells), plan.filtered.peaks
    everything = read_runs(sources, stage="", on_event=ignore)  # progress is told by block
    sizes = [block.n_cells for block in plan.cell_blocks]
    labels = regroup(kept_runs(everything, cells, peaks), sizes)
    for block, of_block in zip(plan.cell_blocks, labels, strict=True):
        writer.write_labels(block.index, of_block)
        on_event(Progress("writing labels", block.stop, len(plan.obs), "cells"))


def _stored_bytes(out: str) -> int:
    fs, path = urls.filesystem(out)
    return int(fs.du(path))


def _estimated_bytes(plan: _Plan, settings: _Settings) -> int:
    n_peaks, stored_bp = len(plan.var), settings.window_bp + 2 * settings.flank_bp
    sequence = n_peaks * stored_bp * 4 / _SEQUENCE_COMPRESSION
    labels = 2 * plan.filtered.n_positives / _INDEX_COMPRESSION
    edges = 2 * (n_peaks + 1) * len(plan.cell_blocks)  # int64, about 4 times smaller stored
    return round(sequence + labels + edges)


def _report(out: str, plan: _Plan, *, dry_run: bool, stored_bytes: int) -> PreprocessReport:
    filtered = plan.filtered
    by_split, by_sample = plan.var["split"].value_counts(), plan.obs["sample"].value_counts()
    return PreprocessReport(
        out=out,
        dry_run=dry_run,
        n_cells_in=sum(len(mask) for mask in filtered.cells),
        n_peaks_in=len(filtered.peaks),
        n_cells_few_peaks=filtered.n_cells_few_peaks,
        n_peaks_rare=filtered.n_peaks_rare,
        n_cells_emptied=filtered.n_cells_emptied,
        n_cells=filtered.n_cells,
        n_peaks=filtered.n_peaks,
        n_positives=filtered.n_positives,
        density=filtered.n_positives / (filtered.n_cells * filtered.n_peaks),
        n_blocks=len(plan.cell_blocks),
        block_cells=plan.cell_blocks[0].n_cells,
        splits={split: int(by_split[split]) for split in SPLITS},
        samples={str(name): int(count) for name, count in by_sample.items()},
        stored_bytes=stored_bytes,
    )
