"""The verb `simulate`: an atlas with known answers in one folder.

The folder is built under a partial name beside the target and renamed when it is whole.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from atlasstore import urls
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Progress, Subscriber, ignore
from atlasstore.motifs import Motif, write_meme
from atlasstore.simulation.activities import (
    BIAS_RANDOM_SD,
    batch_activities,
    cell_type_activities,
    sequence_bias,
)
from atlasstore.simulation.background import background, write_fasta_record
from atlasstore.simulation.builtin_motifs import choose_motifs
from atlasstore.simulation.cells import CountSampler, cell_table
from atlasstore.simulation.config import SimulationConfig, Stream, stream
from atlasstore.simulation.counts import CountTotals, write_counts
from atlasstore.simulation.peaks import Peaks, Sites, place_peaks, place_sites, plant, window_gc
from atlasstore.simulation.truth import Truth, median_depth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["SimulationReport", "simulate"]

BLOCKS_PER_WRITE = 4
"""Blocks of cells in memory at a time: about 100 MB at 2,500 open peaks a cell."""
_TYPE_SHARE_CONCENTRATION = 100.0


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


def simulate(
    out: str | Path,
    *,
    n_cells: int = 2000,
    n_peaks: int = 10000,
    n_cell_types: int = 8,
    motifs: str | None = None,
    n_motifs: int = 16,
    n_batches: int = 1,
    density: float = 0.05,
    depth_sd: float = 0.5,
    batch_effect: float = 0.3,
    seed: int = 0,
    on_event: Subscriber = ignore,
) -> SimulationReport:
    """Make an atlas whose answers are known.

    Writes ``counts.h5ad`` (cells x peaks, csr, fragment counts; ``obs``: cell_type, batch, depth;
    ``var``: chrom, start, end), ``genome.fa``, ``motifs.meme``, ``peaks.bed`` and ``truth.json``
    (read it with `Truth.load`, whose module states the model). Memory is bounded whatever
    `n_cells` is, but for about 0.2 KB a cell of ``obs``; the counts cost time by the fragment.

    Parameters
    ----------
    out
        A local folder that does not exist yet.
    n_cells, n_peaks, n_cell_types, n_motifs, n_batches, density, depth_sd, batch_effect, seed
        See `SimulationConfig`.
    motifs
        Path or URL of a MEME file to draw motifs from; None is the built-in set.
    on_event
        Told the progress.

    Raises
    ------
    UserInputError
        On a dial out of its range, or an `out` that is not local.
    StoreExistsError
        When `out` exists.
    MotifError
        When the MEME file cannot be read or has too few usable motifs.
    """
    config = SimulationConfig(
        n_cells=n_cells,
        n_peaks=n_peaks,
        n_cell_types=n_cell_types,
        motifs=None if motifs is None else str(motifs),
        n_motifs=n_motifs,
        n_batches=n_batches,
        density=density,
        depth_sd=depth_sd,
        batch_effect=batch_effect,
        seed=seed,
    )
    target = _check_out(out)
    chosen = choose_motifs(config)
    with _appearing_whole(target) as folder:
        return write_simulation(folder, config, chosen, out=str(out), on_event=on_event)


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


def _check_out(out: str | Path) -> Path:
    if not urls.is_local(out):
        raise UserInputError(f"out is {out}; simulate writes to a local folder only, so give a path.")
    target = urls.local_path(out)
    if target.exists():
        raise StoreExistsError(f"{out} exists; choose another folder or remove it.")
    return target


@contextmanager
def _appearing_whole(target: Path) -> Iterator[Path]:
    """Give a folder beside `target` that takes its name at the end, or goes on an error."""
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


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
            on_event(
                Progress("writing genome", index + 1, peaks.chromosome_bp.size, "chromosomes")
            )
    return gc


def _truth(
    config: SimulationConfig,
    peaks: Peaks,
    sites: Sites,
    motifs: Sequence[Motif],
    gc: NDArray[np.float64],
) -> Truth:
    shares_rng = stream(config.seed, Stream.TYPE_SHARES)
    concentration = np.full(config.n_cell_types, _TYPE_SHARE_CONCENTRATION)
    activities_rng = stream(config.seed, Stream.ACTIVITIES)
    activities = cell_type_activities(config.n_cell_types, len(motifs), activities_rng)
    batches_rng = stream(config.seed, Stream.ACTIVITIES, 1)
    bias_rng = stream(config.seed, Stream.BIAS)
    truth = Truth(
        config=config,
        cell_types=[f"type{i + 1}" for i in range(config.n_cell_types)],
        batches=[f"batch{i + 1}" for i in range(config.n_batches)],
        motifs=[motif.name for motif in motifs],
        peaks=peaks.names,
        type_shares=shares_rng.dirichlet(concentration),
        activities=activities,
        batch_activities=batch_activities(
            config.n_batches, len(motifs), config.batch_effect, batches_rng
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
