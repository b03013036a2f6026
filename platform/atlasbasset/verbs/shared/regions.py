"""Stretches of chromosomes that a person names: a whole one, or ``chr1:1,000-2,000``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Region", "parsed_region", "refuse_overlaps"]

_PLACE = re.compile(r"(?P<chrom>.+):(?P<start>[\d,]+)-(?P<end>[\d,]+)")


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a chromosome, 0-based half-open."""

    chrom: str
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start}-{self.end}"

    def n_windows(self, step_bp: int) -> int:
        """Return how many windows begin a step each."""
        return -(-(self.end - self.start) // step_bp)


def parsed_region(text: str, lengths: Mapping[str, int]) -> Region:
    """Return a region of the chromosomes `lengths`, 0-based half-open as in names of peaks.

    Raises
    ------
    UserInputError
        It is no region, or does not lie on one of the chromosomes.
    """
    if text in lengths:
        return Region(text, 0, lengths[text])
    found = _PLACE.fullmatch(text)
    chrom = found["chrom"] if found else text
    if chrom not in lengths:
        known = ", ".join(list(lengths)[:5]) + (", ..." if len(lengths) > 5 else "")
        raise UserInputError(
            f"{text!r} is no region of the genome; give a chromosome ({known}) or chrom:start-end."
        )
    if found is None:
        raise UserInputError(f"{text!r} is no region; give a chromosome or chrom:start-end.")
    start, end = (int(found[side].replace(",", "")) for side in ("start", "end"))
    if not 0 <= start < end <= lengths[chrom]:
        raise UserInputError(
            f"{text!r} does not lie on {chrom}, which has {lengths[chrom]:,} bp; give start and "
            "end on it, 0-based half-open."
        )
    return Region(chrom, start, end)


def refuse_overlaps(regions: Sequence[Region]) -> None:
    """Raise UserInputError where two regions share a base: a track has one value there."""
    ordered = sorted(regions, key=lambda region: (region.chrom, region.start))
    for one, other in pairwise(ordered):
        if one.chrom == other.chrom and other.start < one.end:
            raise UserInputError(f"regions {one} and {other} overlap; give each stretch once.")
