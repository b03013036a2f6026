"""Which peaks overlap given intervals; all are 0-based half-open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import PeaksError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["overlap_groups", "overlapping_rows", "places_of_names", "shares_base"]


def overlapping_rows(
    peaks: pd.DataFrame, intervals: pd.DataFrame, *, name: str
) -> NDArray[np.int64]:
    """Return the rows of `peaks` that share a base with any interval, ascending, int64.

    Parameters
    ----------
    peaks, intervals
        Columns chrom, start, end.
    name
        Of the intervals' file, for messages.

    Raises
    ------
    PeaksError
        When an interval overlaps no peak; the message counts them and names the first.
    """
    chosen = np.zeros(len(peaks), bool)
    hit = np.zeros(len(intervals), bool)
    wanted = intervals["chrom"].astype(str).to_numpy()
    by_chrom = peaks.groupby(peaks["chrom"].astype(str), sort=False).indices
    for chrom in sorted(set(wanted) & set(by_chrom)):
        at = np.flatnonzero(wanted == chrom)
        rows = np.asarray(by_chrom[chrom])
        hit[at], chosen[rows] = _overlaps(_bounds(peaks, rows), _bounds(intervals, at))
    missed = np.flatnonzero(~hit)
    if missed.size:
        first = intervals.iloc[missed[0]]
        raise PeaksError(
            f"{missed.size} of {len(intervals)} intervals in {name} overlap no peak of the atlas "
            f"(first: {first['chrom']}:{first['start']}-{first['end']}); list only intervals that "
            "overlap its peaks."
        )
    return np.flatnonzero(chosen)


_Bounds = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def _bounds(table: pd.DataFrame, rows: NDArray[np.int64]) -> _Bounds:
    part = table.iloc[rows]
    return part["start"].to_numpy(np.int64), part["end"].to_numpy(np.int64)


def _overlaps(peaks: _Bounds, intervals: _Bounds) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which intervals overlap a peak, and which peaks overlap an interval.

    One side overlaps the other where it starts before some other's end and that one has not ended
    before: of the others that start below its end, the furthest end is past its start.
    """
    return _overlaps_any(intervals, peaks), _overlaps_any(peaks, intervals)


def _overlaps_any(these: _Bounds, others: _Bounds) -> NDArray[np.bool_]:
    order = np.argsort(others[0], kind="stable")
    starts, furthest = others[0][order], np.maximum.accumulate(others[1][order])
    before = np.searchsorted(starts, these[1], side="left")
    found: NDArray[np.bool_] = (before > 0) & (furthest[np.maximum(before - 1, 0)] > these[0])
    return found


def overlap_groups(
    chrom: Sequence[str], starts: NDArray[np.int64], *, length: int
) -> NDArray[np.int64]:
    """Return each window's group, int64 (P,): two windows that share a base are in one group.

    Windows that overlap a common third one are in one group too, and so on along the chromosome.

    Parameters
    ----------
    chrom
        Each window's chromosome, length P.
    starts
        Each window's first base, (P,).
    length
        Bases of every window.
    """
    places = _places(chrom, starts, length)
    order = np.argsort(places, kind="stable")
    opens = np.diff(places[order], prepend=-length) >= length
    groups = np.empty(len(places), np.int64)
    groups[order] = np.cumsum(opens) - 1
    return groups


def shares_base(
    chrom: Sequence[str],
    starts: NDArray[np.int64],
    others: NDArray[np.bool_],
    *,
    length: int,
) -> NDArray[np.bool_]:
    """Return which windows share a base with one of `others`, bool (P,); those themselves do.

    Parameters as for `overlap_groups`; `others` says which of the windows to compare with.
    """
    places = _places(chrom, starts, length)
    far = np.iinfo(np.int64).max // 2
    compared = np.concatenate([[-far], np.sort(places[others]), [far]])
    after = np.searchsorted(compared, places)
    nearest = np.minimum(compared[after] - places, places - compared[after - 1])
    return np.asarray(nearest < length)


def _places(chrom: Sequence[str], starts: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return the starts on one line, 0 or more, the chromosomes end to end and `length` apart."""
    if not len(starts):
        return np.empty(0, np.int64)
    codes = places_of_names(chrom)
    shifted = starts - starts.min()
    return np.asarray(codes * (shifted.max() + 2 * length) + shifted, np.int64)


def places_of_names(names: Sequence[str]) -> NDArray[np.int64]:
    """Return for each name its place among the names in the order in which they first come."""
    places: dict[str, int] = {}
    found = (places.setdefault(name, len(places)) for name in names)
    return np.fromiter(found, np.int64, count=len(names))
