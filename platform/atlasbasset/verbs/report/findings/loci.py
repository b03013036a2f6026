"""Loci: denoised, observed and predicted accessibility of some groups along a stretch of genome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.shared.regions import Region
from atlasbasset.verbs.shared.track_set import pieces
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.verbs.shared.track_set import TrackSet

__all__ = ["Locus", "Peak", "loci_of", "named_loci"]

_Stretch = tuple[int, int, float]
_Tracks = Mapping[tuple[str, str], Sequence[_Stretch]]
_MOST_GROUPS = 6
_MOST_BINS = 2_000
_MARGIN_BP = 5_000
"""Shown on either side of a peak."""
_LEADING = "denoised"
"""The kind of track that groups are compared by."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Where the groups of a locus differ most."""

    start: int
    end: int
    values: Mapping[str, tuple[float | None, float | None]]
    """Kind -> its value there in the highest and in the lowest group; None where it has none."""
    highest: str
    lowest: str


@dataclass(frozen=True, eq=False, slots=True)
class Locus:
    """Tracks of some groups in a region."""

    region: Region
    key: str
    """What the groups are."""
    groups: tuple[str, ...]
    n_groups: int
    """Groups that the tracks have."""
    tracks: _Tracks
    """Group and kind -> stretches with a value; kinds without any are not there."""
    peak: Peak | None
    """None where no peak lies in the region."""
    genes: pd.DataFrame | None
    """Of the region; None where the tracks have no genes."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of tracks that are there."""
        return tuple(dict.fromkeys(kind for _, kind in self.tracks))


def named_loci(
    tracks: TrackSet | None, names: Sequence[str], *, most_bp: int = 200_000
) -> tuple[Region, ...]:
    """Return the regions that a person named, each of at most `most_bp`.

    Raises
    ------
    UserInputError
        One is no region, or too long for a figure; or there are no tracks.
    """
    if names and tracks is None:
        raise UserInputError(
            f"locus {names[0]} is to be shown, but no folder of tracks was given; add one, or "
            "leave the loci out."
        )
    found = tuple(tracks.region(name) for name in names) if tracks is not None else ()
    for region in found:
        if region.end - region.start > most_bp:
            raise UserInputError(
                f"locus {region} has {region.end - region.start:,} bp, but a figure shows at most "
                f"{most_bp:,}; name a part of it."
            )
    return found


def loci_of(
    tracks: TrackSet | None, names: Sequence[str], *, model: str
) -> tuple[Locus, ...] | Missing:
    """Read the loci that were named; by default the peaks that differ most between groups."""
    if tracks is None:
        return Missing(
            "Accessibility along the genome is not shown: no tracks were given.",
            f"tracks {model} ATLAS --group-by COLUMN --out tracks",
        )
    if regions := named_loci(tracks, names):
        return tuple(_locus(tracks, region, region) for region in regions)
    found = tuple(_locus(tracks, _around(peak, tracks.lengths), peak) for peak in tracks.loci)
    return found or Missing(
        "Accessibility along the genome is not shown: the tracks name no locus; name one.",
        f"report {model} ATLAS TRACKS --loci chr1:1000-20000 --out report.html",
    )


def _around(peak: Region, lengths: Mapping[str, int]) -> Region:
    end = min(lengths[peak.chrom], peak.end + _MARGIN_BP)
    return Region(peak.chrom, max(0, peak.start - _MARGIN_BP), end)


def _locus(tracks: TrackSet, region: Region, inside: Region) -> Locus:
    """Read a region; its peak is looked for inside a part of it."""
    leading = _binned(tracks, inside, _LEADING)
    column = _widest(leading)
    groups = _shown(tuple(tracks.groups), None if column is None else leading[:, column])
    read = {
        (group, kind): pieces(tracks.values(group, kind, region), region.start)
        for group in groups
        for kind in tracks.kinds
    }
    bin_bp = (inside.end - inside.start) / leading.shape[1]
    at = None if column is None else inside.start + int((column + 0.5) * bin_bp)
    has_values = {kind for (_, kind), stretches in read.items() if stretches}
    return Locus(
        region=region,
        key=str(tracks.about["group_by"]),
        groups=groups,
        n_groups=len(tracks.groups),
        tracks={place: found for place, found in read.items() if place[1] in has_values},
        peak=None if at is None else _peak(read, at),
        genes=_genes(tracks, region),
    )


def _binned(tracks: TrackSet, place: Region, kind: str) -> NDArray[np.float64]:
    """Return a kind's largest values in bins, all groups, float64 (G, bins)."""
    n_bins = min(_MOST_BINS, place.end - place.start)
    names = tracks.groups
    return np.stack([tracks.values(n, kind, place, bins=n_bins, summary="max") for n in names])


def _widest(values: NDArray[np.float64]) -> int | None:
    """Return the bin in which groups differ most; None where none has a value."""
    known = ~np.isnan(values).all(axis=0)
    if not known.any():
        return None
    spread = np.full(values.shape[1], -1.0)
    spread[known] = np.nanmax(values[:, known], axis=0) - np.nanmin(values[:, known], axis=0)
    return int(np.argmax(spread))


def _shown(names: tuple[str, ...], values: NDArray[np.float64] | None) -> tuple[str, ...]:
    """Return at most six groups, in their order: the five highest and the lowest."""
    if len(names) <= _MOST_GROUPS or values is None:
        return names[:_MOST_GROUPS]
    order = np.argsort(-np.nan_to_num(values), kind="stable")
    kept = sorted([*order[: _MOST_GROUPS - 1].tolist(), int(order[-1])])
    return tuple(names[place] for place in kept)


def _peak(tracks: _Tracks, at: int) -> Peak | None:
    """Describe the peak at a position; None where no group has a value there."""
    found = {group: _there(s, at) for (group, kind), s in tracks.items() if kind == _LEADING}
    leading = {group: place for group, place in found.items() if place is not None}
    if not leading:
        return None
    highest = max(leading, key=lambda group: leading[group][2])
    lowest = min(leading, key=lambda group: leading[group][2])
    values = {
        kind: (_value(tracks[highest, kind], at), _value(tracks[lowest, kind], at))
        for kind in dict.fromkeys(kind for _, kind in tracks)
    }
    start, end, _ = leading[highest]
    return Peak(start, end, values, highest, lowest)


def _there(stretches: Sequence[_Stretch], at: int) -> _Stretch | None:
    return next((one for one in stretches if one[0] <= at < one[1]), None)


def _value(stretches: Sequence[_Stretch], at: int) -> float | None:
    found = _there(stretches, at)
    return None if found is None else found[2]


def _genes(tracks: TrackSet, place: Region) -> pd.DataFrame | None:
    if (genes := tracks.genes) is None:
        return None
    on = genes["chrom"].astype(str) == place.chrom
    return genes[on & (genes["end"] > place.start) & (genes["start"] < place.end)]
