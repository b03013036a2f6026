"""Building the files of a simulated atlas: genome, motifs, peaks, truth, counts, in that order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from atlasstore.events import Progress, Subscriber, ignore
from atlasstore.genome.motifs import Motif, write_meme
from atlasstore.simulation.activities import (
    BIAS_RANDOM_SD,
    batch_activities,
    batch_shares,
    batch_shifts,
    cell_type_activities,
    sequence_bias,
    type_shares,
)
from atlasstore.simulation.background import background, write_fasta_record
from atlasstore.simulation.cells import CountSampler, cell_table
from atlasstore.simulation.config import SimulationConfig, Stream, stream
from atlasstore.simulation.counts import CountTotals, write_counts
from atlasstore.simulation.peaks import Peaks, Sites, place_peaks, place_sites, plant, window_gc
from atlasstore.simulation.truth import Truth, median_depth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["BLOCKS_PER_WRITE", "SimulationReport", "write_simulation"]

BLOCKS_PER_WRITE = 4
"""Blocks of cells in memory at a time: about 200 MB at 2,500 open peaks a cell."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationReport:
    """What a simulation made."""

    out: str
    """The folder: counts.h5ad, genome.fa, motifs.meme, peaks.bed, truth.json."""
    config: SimulationConfig
    genome_bp: int
    n_sites: int
    """Planted motif sites."""
    n_fragments: int
    n_open: int
    """Nonzero counts."""
    density: float
    """Share of nonzero counts; above `config.density` where depths spread upwards."""
    median_depth: float
    """Median expected fragments in peaks of a cell."""


def write_simulation(
    folder: Path,
    config: SimulationConfig,
    motifs: Sequence[Motif],
    *,
    out: str,
    blocks_per_write: int = BLOCKS_PER_WRITE,
    on_event: Subscriber = ignore,
) -> SimulationReport:
    """Write all files into the existing `folder`; the files do not depend on `blocks_per_write`."""
    peaks = place_peaks(config.n_peaks, stream(config.seed, Stream.PEAKS))
    widths = np.array([motif.width for motif in motifs])
    sites = place_sites(peaks, widths, stream(config.seed, Stream.SITES))
    gc = _write_genome(folder / "genome.fa", config, peaks, sites, motifs, on_event)
    truth = _truth(config, peaks, sites, motifs, gc)
    write_meme(folder / "motifs.meme", motifs)
    _write_bed(folder / "peaks.bed", peaks)
    truth.save(folder)
    obs = cell_table(truth)
    totals = write_counts(
        folder / "counts.h5ad",
        CountSampler(truth, obs),
        obs=obs,
        var=peaks.table(),
        blocks_per_write=blocks_per_write,
        on_event=on_event,
    )
    return _report(out, truth, peaks, totals)


def _write_genome(
    path: Path,
    config: SimulationConfig,
    peaks: Peaks,
    sites: Sites,
    motifs: Sequence[Motif],
    on_event: Subscriber,
) -> NDArray[np.float64]:
    """Write the genome, one chromosome in memory at a time; return every window's GC share."""
    gc = np.empty(peaks.start.size)
    with path.open("wb") as file:
        for index, length in enumerate(peaks.chromosome_bp.tolist()):
            rng = stream(config.seed, Stream.BACKGROUND, index)
            codes = background(length, rng)
            mine = peaks.chromosome == index
            plant(codes, sites.select(mine[sites.peak]), motifs, rng)
            gc[mine] = window_gc(codes, peaks.mid[mine])
            write_fasta_record(file, peaks.chromosome_names[index], codes)
            on_event(Progress("writing genome", index + 1, peaks.chromosome_bp.size, "chromosomes"))
    return gc


def _truth(
    config: SimulationConfig,
    peaks: Peaks,
    sites: Sites,
    motifs: Sequence[Motif],
    gc: NDArray[np.float64],
) -> Truth:
    shares_rng = stream(config.seed, Stream.TYPE_SHARES)
    activities_rng = stream(config.seed, Stream.ACTIVITIES)
    activities = cell_type_activities(config.n_cell_types, len(motifs), activities_rng)
    batches_rng = stream(config.seed, Stream.ACTIVITIES, 1)
    bias_rng = stream(config.seed, Stream.BIAS)
    shares = type_shares(config.n_cell_types, config.rare_types, config.rare_share, shares_rng)
    truth = Truth(
        config=config,
        cell_types=[f"type{i + 1}" for i in range(config.n_cell_types)],
        batches=[f"batch{i + 1}" for i in range(config.n_batches)],
        motifs=[motif.name for motif in motifs],
        peaks=peaks.names,
        type_shares=shares,
        batch_shares=batch_shares(
            shares,
            config.n_batches,
            config.batch_mix,
            stream(config.seed, Stream.BATCH_SHARES),
        ),
        activities=activities,
        batch_activities=batch_activities(
            config.n_batches, len(motifs), config.batch_effect, batches_rng
        ),
        batch_shifts=batch_shifts(
            config.n_batches,
            config.n_peaks,
            config.batch_shift,
            config.batch_shift_share,
            stream(config.seed, Stream.BATCH_SHIFTS),
        ),
        sites=sites,
        bias_sequence=sequence_bias(gc),
        bias_random=BIAS_RANDOM_SD * bias_rng.normal(size=config.n_peaks),
        median_depth=np.nan,
    )
    return replace(truth, median_depth=median_depth(truth))


def _write_bed(path: Path, peaks: Peaks) -> None:
    """Write the peaks as BED: chromosome, start, end, name; 0-based half-open."""
    table = peaks.table().reset_index()[["chrom", "start", "end", "peak"]]
    table.to_csv(path, sep="\t", header=False, index=False)


def _report(out: str, truth: Truth, peaks: Peaks, totals: CountTotals) -> SimulationReport:
    return SimulationReport(
        out=out,
        config=truth.config,
        genome_bp=int(peaks.chromosome_bp.sum()),
        n_sites=truth.sites.peak.size,
        n_fragments=totals.n_fragments,
        n_open=totals.n_open,
        density=totals.n_open / (truth.config.n_cells * truth.config.n_peaks),
        median_depth=truth.median_depth,
    )
