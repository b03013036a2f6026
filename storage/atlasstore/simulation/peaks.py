"""Where the peaks are, and which motif sites stand in them.

Widths are log-normal around 500 bp (sd of the logarithm 0.35), clipped to 300..1500 bp. The gap
before a peak is 200 bp plus an exponential of mean 1,800 bp, so peaks never overlap, and 1,000 bp
at both ends of a chromosome keep every 1,344-bp window inside. Coordinates are 0-based half-open.

A peak has a Poisson(8) number of sites, at most one per slot: its central 300 bp are cut into
slots as wide as the widest motif, and each site stands in a slot of its own, so sites never
overlap, at a random place inside it, on a random strand. As in real enhancers a peak has a leading
TF: 7 sites in 10 are its, the others are any motif's, and every motif leads equally often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from atlasstore.genome.motifs import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasstore.genome.motifs import Motif

__all__ = [
    "CENTRAL_BP",
    "LEADING_SHARE",
    "MEAN_SITES",
    "WINDOW_BP",
    "Peaks",
    "Sites",
    "place_peaks",
    "place_sites",
    "plant",
    "window_gc",
]

WINDOW_BP = 1344
"""A sequence model's window around a peak's centre."""
CENTRAL_BP = 300
"""The part of a peak that holds its sites."""
MEAN_SITES = 8.0
"""Mean sites of a peak, all motifs together."""
LEADING_SHARE = 0.7
"""Probability that a site is one of the peak's leading motif."""

_MIN_WIDTH_BP, _MEDIAN_WIDTH_BP, _MAX_WIDTH_BP, _WIDTH_SD = 300, 500, 1500, 0.35
_MIN_GAP_BP, _MEAN_EXTRA_GAP_BP, _MARGIN_BP = 200, 1800, 1000
_PEAKS_PER_CHROMOSOME, _MIN_CHROMOSOMES, _MAX_CHROMOSOMES = 1000, 5, 20


@dataclass(frozen=True, eq=False, slots=True)
class Peaks:
    """Peaks in genome order."""

    chromosome: NDArray[np.int64]
    """int64, shape (n_peaks,): index of the chromosome, 0 for chr1."""
    start: NDArray[np.int64]
    """int64, shape (n_peaks,): 0-based, inclusive."""
    end: NDArray[np.int64]
    """int64, shape (n_peaks,): exclusive."""
    chromosome_bp: NDArray[np.int64]
    """int64, shape (n_chromosomes,): lengths."""

    @property
    def mid(self) -> NDArray[np.int64]:
        """Centres, as the windows take them."""
        return (self.start + self.end) // 2

    @property
    def chromosome_names(self) -> list[str]:
        """``chr1`` and on."""
        return [f"chr{i + 1}" for i in range(self.chromosome_bp.size)]

    @property
    def names(self) -> list[str]:
        """``chr1:100-600`` and on."""
        chroms = self.chromosome_names
        rows = zip(self.chromosome.tolist(), self.start.tolist(), self.end.tolist(), strict=True)
        return [f"{chroms[c]}:{start}-{end}" for c, start, end in rows]

    def table(self) -> pd.DataFrame:
        """Return columns ``chrom`` (categorical), ``start``, ``end``, indexed by name."""
        chrom = pd.Categorical.from_codes(
            self.chromosome, categories=pd.Index(self.chromosome_names)
        )
        columns = {"chrom": chrom, "start": self.start, "end": self.end}
        return pd.DataFrame(columns, index=pd.Index(self.names, name="peak"))


@dataclass(frozen=True, eq=False, slots=True)
class Sites:
    """Planted motif sites, in the order of their peaks."""

    peak: NDArray[np.int64]
    """int64, shape (n_sites,): row of the peak."""
    motif: NDArray[np.int64]
    """int64, shape (n_sites,): row of the motif."""
    start: NDArray[np.int64]
    """int64, shape (n_sites,): first base on the chromosome, 0-based, forward strand."""
    reverse: NDArray[np.bool_]
    """bool, shape (n_sites,): whether the motif reads along the reverse strand."""

    def select(self, keep: NDArray[np.bool_]) -> Sites:
        """Return the sites where `keep`, bool of shape (n_sites,), is true."""
        return Sites(self.peak[keep], self.motif[keep], self.start[keep], self.reverse[keep])

    def counts(self, n_peaks: int, n_motifs: int) -> csr_array:
        """Return how many sites of each motif a peak has: float64, shape (n_peaks, n_motifs)."""
        ones = np.ones(self.peak.size)
        return csr_array((ones, (self.peak, self.motif)), shape=(n_peaks, n_motifs))


def place_peaks(n_peaks: int, rng: np.random.Generator) -> Peaks:
    """Place the peaks on one chromosome per thousand peaks, at least 5 and at most 20."""
    n_chromosomes = int(
        np.clip(n_peaks // _PEAKS_PER_CHROMOSOME, _MIN_CHROMOSOMES, _MAX_CHROMOSOMES)
    )
    sizes = np.full(n_chromosomes, n_peaks // n_chromosomes)
    sizes[: n_peaks % n_chromosomes] += 1
    widths = rng.lognormal(np.log(_MEDIAN_WIDTH_BP), _WIDTH_SD, n_peaks)
    widths = np.clip(np.rint(widths), _MIN_WIDTH_BP, _MAX_WIDTH_BP).astype(np.int64)
    gaps = _MIN_GAP_BP + rng.exponential(_MEAN_EXTRA_GAP_BP, n_peaks).astype(np.int64)
    ends = np.cumsum(widths + gaps)
    last = np.cumsum(sizes) - 1
    before = np.concatenate([[0], ends[last[:-1]]])
    chromosome = np.repeat(np.arange(n_chromosomes), sizes)
    ends = ends - before[chromosome] + _MARGIN_BP
    return Peaks(chromosome, ends - widths, ends, ends[last] + _MARGIN_BP)


def place_sites(peaks: Peaks, motif_widths: NDArray[np.int64], rng: np.random.Generator) -> Sites:
    """Draw number, motif, place and strand of every peak's sites."""
    n_peaks, n_motifs = peaks.start.size, motif_widths.size
    slot_bp = int(motif_widths.max())
    n_slots = CENTRAL_BP // slot_bp
    n_sites = np.minimum(rng.poisson(MEAN_SITES, n_peaks), n_slots)
    order = rng.random((n_peaks, n_slots)).argsort(axis=1)
    peak, slot = np.nonzero(order < n_sites[:, None])
    leading = rng.integers(0, n_motifs, n_peaks)[peak]
    follows = rng.random(peak.size) < LEADING_SHARE
    motif = np.where(follows, leading, rng.integers(0, n_motifs, peak.size))
    shift = rng.integers(0, slot_bp - motif_widths[motif] + 1)
    start = peaks.mid[peak] - CENTRAL_BP // 2 + slot * slot_bp + shift
    return Sites(peak, motif, start, rng.random(peak.size) < 0.5)


def plant(
    codes: NDArray[np.uint8], sites: Sites, motifs: Sequence[Motif], rng: np.random.Generator
) -> None:
    """Write the sites, one draw from the motif each, over one chromosome's bases, in place."""
    for index, motif in enumerate(motifs):
        mine = sites.motif == index
        words = sample(motif, int(mine.sum()), rng)
        reverse = sites.reverse[mine]
        words[reverse] = 3 - words[reverse, ::-1]
        codes[sites.start[mine][:, None] + np.arange(motif.width)] = words


def window_gc(codes: NDArray[np.uint8], mids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the GC share of the `WINDOW_BP` around each centre, for peaks of one chromosome."""
    is_gc = (codes == 1) | (codes == 2)
    total = np.concatenate([[0], np.cumsum(is_gc, dtype=np.int64)])
    return np.asarray((total[mids + WINDOW_BP // 2] - total[mids - WINDOW_BP // 2]) / WINDOW_BP)
