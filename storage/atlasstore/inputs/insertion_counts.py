"""Which peaks a fragment's two insertions fall in: pure numpy, no files.

A fragment [start, end) (0-based half-open) has one Tn5 insertion at `start` and one at `end - 1`.
It counts once for a peak when either lies in it. A fragment that spans a peak with both ends
outside does not count for it: no insertion was seen there (10x Genomics counts the same way).
Peaks may overlap; a fragment counts for each.

Peaks are cut at all their starts and ends into segments; all chromosomes lie on one axis, one
after the other. A position finds its segment by one binary search, and the segment lists the
peaks that cover it, so the cost per insertion does not depend on how peaks overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

__all__ = ["PeakSegments", "fragment_peak_pairs"]


@dataclass(frozen=True)
class PeakSegments:
    """Peaks cut into segments along one axis that holds all chromosomes."""

    offset: Ints
    """Where each chromosome begins on the axis, shape (n_chroms,)."""
    reach: Ints
    """The largest peak end of each chromosome, shape (n_chroms,)."""
    cuts: Ints
    """Segment s is [cuts[s], cuts[s + 1]) on the axis; sorted."""
    indptr: Ints
    """Segment s is covered by ``peaks[indptr[s]:indptr[s + 1]]``."""
    peaks: Ints
    """Peak numbers in the order of the table they came from."""
    start: Ints
    """Each peak's start on the axis, shape (n_peaks,)."""

    @classmethod
    def build(cls, chrom: Ints, start: Ints, end: Ints) -> PeakSegments:
        """Cut peaks given by chromosome number, start and end (0-based half-open)."""
        reach = np.zeros(int(chrom.max()) + 1, dtype=np.int64)
        np.maximum.at(reach, chrom, end)
        offset = np.concatenate([[0], np.cumsum(reach + 1)[:-1]]).astype(np.int64)
        start, end = start + offset[chrom], end + offset[chrom]
        cuts = np.unique(np.concatenate([start, end]))
        first, last = np.searchsorted(cuts, start), np.searchsorted(cuts, end)
        peak, segment = _ranges(first, last - first)
        order = np.argsort(segment, kind="stable")
        indptr = np.searchsorted(segment[order], np.arange(cuts.size + 1))
        return cls(offset, reach, cuts, indptr, peak[order], start)

    def place(self, chrom: Ints, position: Ints) -> Ints:
        """Return positions on the axis; those past a chromosome's last peak fall in no peak."""
        return self.offset[chrom] + np.minimum(position, self.reach[chrom])

    def covering(self, place: Ints) -> tuple[Ints, Ints]:
        """Return (query, peak) for every peak that covers each axis position."""
        segment = np.searchsorted(self.cuts, place, side="right") - 1
        inside = np.flatnonzero(segment >= 0)
        first = self.indptr[segment[inside]]
        query, entry = _ranges(first, self.indptr[segment[inside] + 1] - first)
        return inside[query], self.peaks[entry]


def _ranges(first: Ints, length: Ints) -> tuple[Ints, Ints]:
    """Return (i, value) for value in [first[i], first[i] + length[i]), all i in order."""
    which = np.repeat(np.arange(first.size), length)
    begin = np.cumsum(length) - length
    return which, np.arange(which.size) - np.repeat(begin - first, length)


def fragment_peak_pairs(
    segments: PeakSegments, *, chrom: Ints, start: Ints, end: Ints
) -> tuple[Ints, Ints]:
    """Return (fragment, peak) for every peak that each fragment counts for, each pair once.

    Parameters
    ----------
    segments
        The peaks.
    chrom, start, end
        One fragment each, shape (n,): a chromosome number of `segments`, 0-based half-open.
    """
    left = segments.place(chrom, start)
    fragment_l, peak_l = segments.covering(left)
    fragment_r, peak_r = segments.covering(segments.place(chrom, end - 1))
    # left <= right, so a peak with the right insertion has the left one too from its start on
    only_right = segments.start[peak_r] > left[fragment_r]
    return (
        np.concatenate([fragment_l, fragment_r[only_right]]),
        np.concatenate([peak_l, peak_r[only_right]]),
    )
