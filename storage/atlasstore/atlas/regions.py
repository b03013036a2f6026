"""Regions of a genome as a model's windows: from a BED file, or an atlas's peaks by name.

A region's window is centred on it, as a peak's is (`sequences.window_starts`), and may extend
past a chromosome's end, where bases are unknown. The region itself must be inside its chromosome.
Sequences are read on demand, by range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import PeaksError
from atlasstore.genome.fasta import Genome, check_peaks
from atlasstore.genome.peaks import find_duplicates, read_bed
from atlasstore.genome.sequences import reverse_complement_codes, window_starts
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasstore.atlas.atlas import Atlas

__all__ = ["BedRegions", "PeakRegions", "Regions", "bed_regions", "is_reverse", "peak_regions"]

_READ_ROWS = 1024


@dataclass(frozen=True, eq=False, slots=True)
class BedRegions:
    """Regions of a BED file on a genome; made by `bed_regions`."""

    table: pd.DataFrame
    """One row per region, named ``chrom:start-end``: chrom, start, end, window_start, the first
    base of its window on the genome (may be negative), and strand, where the file has one; 0-based
    half-open."""
    window_bp: int
    """Length of a window."""
    genome: str | Path
    """The FASTA."""

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the windows of regions [start, stop), uint8 (stop - start, window_bp), 0..4.

        Those of regions on the - strand are turned round.
        """
        part = self.table.iloc[start:stop]
        first = part["window_start"].to_numpy(np.int64)
        with Genome.open(self.genome) as genome:
            codes = genome.windows(part["chrom"].tolist(), first, self.window_bp)
        turned = is_reverse(part)
        codes[turned] = reverse_complement_codes(codes[turned])
        return codes


@dataclass(frozen=True, eq=False, slots=True)
class PeakRegions:
    """Peaks of an atlas, with its sequences; made by `peak_regions`."""

    table: pd.DataFrame
    """As in `BedRegions`; named as the atlas names its peaks."""
    atlas: Atlas
    """Where the sequences are."""
    rows: NDArray[np.int64]
    """The peaks' rows in the atlas."""

    @property
    def window_bp(self) -> int:
        """Length of a window."""
        return self.atlas.window_bp

    def codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the windows of regions [start, stop), uint8 (stop - start, window_bp), 0..4."""
        rows, flank = self.rows[start:stop], self.atlas.flank_bp
        found = np.empty((len(rows), self.window_bp), np.uint8)
        for first, last in runs(self.atlas.n_peaks, _READ_ROWS):
            at = np.flatnonzero((rows >= first) & (rows < last))
            if at.size:
                low, high = int(rows[at].min()), int(rows[at].max()) + 1
                stored = self.atlas.sequence_codes(low, high)[rows[at] - low]
                found[at] = stored[:, flank : flank + self.window_bp]
        return found


Regions = BedRegions | PeakRegions


def bed_regions(bed: str | Path, genome: str | Path, *, window_bp: int) -> BedRegions:
    """Read regions from a BED file, in its order.

    Parameters
    ----------
    bed
        Path or URL of the BED file, plain or gzip; 0-based half-open. Where its sixth column has
        strands, regions on - are read as their reverse complement.
    genome
        Path or URL of the FASTA, plain or bgzip.
    window_bp
        Length of a window.

    Raises
    ------
    PeaksError
        The file is missing, malformed or lists an interval twice, or an interval is outside its
        chromosome.
    GenomeError
        The genome cannot be read, or lacks a chromosome that the file names.
    """
    table = read_bed(bed, with_strand=True)
    if (table["strand"] == ".").all():
        table = table.drop(columns="strand")
    twice = find_duplicates(table)
    if twice.size:
        raise PeaksError(
            f"{twice.size} of {len(table)} intervals in {bed} are listed twice (first: "
            f"{table.index[twice[0]]}); list each once."
        )
    with Genome.open(genome) as opened:
        check_peaks(table, opened)
        return BedRegions(
            _with_windows(table, window_bp, stranded="strand" in table), window_bp, genome
        )


def peak_regions(atlas: Atlas, names: Sequence[str]) -> PeakRegions:
    """Choose peaks of an atlas, in the order of `names`.

    Raises
    ------
    PeaksError
        A name is not one of the atlas's, or stands twice, or there is none.
    """
    if not len(names):
        raise PeaksError("no peaks are named; name at least one.")
    index = atlas.var.index
    rows = index.get_indexer(pd.Index(list(names), dtype=object)).astype(np.int64)
    unknown = [name for name, row in zip(names, rows, strict=True) if row < 0]
    if unknown:
        listed = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise PeaksError(
            f"{len(unknown)} of {len(rows)} peaks are unknown ({listed}); those of {atlas.url} "
            f"are called like {index[0]}."
        )
    if len(np.unique(rows)) < len(rows):
        seen, counts = np.unique(rows, return_counts=True)
        raise PeaksError(f"peak {index[seen[counts > 1][0]]} is named twice; name each once.")
    return PeakRegions(_with_windows(atlas.var.iloc[rows], atlas.window_bp), atlas, rows)


def _with_windows(peaks: pd.DataFrame, window_bp: int, *, stranded: bool = False) -> pd.DataFrame:
    start, end = (peaks[name].to_numpy(np.int64) for name in ("start", "end"))
    first = window_starts(start, end, window_bp=window_bp, flank_bp=0)
    strand = ["strand"] if stranded else []
    return peaks[["chrom", "start", "end", *strand]].assign(window_start=first)


def is_reverse(regions: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which regions are read from the - strand; none where the table has no strand."""
    if "strand" not in regions:
        return np.zeros(len(regions), bool)
    return np.asarray(regions["strand"].astype(str) == "-")
