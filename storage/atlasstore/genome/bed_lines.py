"""Lines of BED and narrowPeak files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.errors import PeaksError
from atlasstore.files.text import whole_number

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_POSITION", "bed_row", "is_no_row"]

MAX_POSITION = 1 << 40
"""No chromosome is longer; sums over all chromosomes stay far from 64 bits."""
_SKIPPED = ("#", "track", "browser")


def is_no_row(line: str) -> bool:
    """Whether a line is empty, a comment, or for a browser."""
    return not line.strip() or line.startswith(_SKIPPED)


def bed_row(line: str, number: int, url: str | Path) -> tuple[str, int, int, str]:
    """Return chromosome, start, end and strand ("." where there is none) of a line.

    Raises
    ------
    PeaksError
        When it is no line of a BED file; `number` and `url` are for the message.
    """
    fields = [field.strip('"') for field in (line.split("\t") if "\t" in line else line.split())]
    try:
        chrom, start, end = fields[0], whole_number(fields[1]), whole_number(fields[2])
    except (IndexError, ValueError):
        chrom, start, end = "", 0, 0
    if not chrom or not 0 <= start < end <= MAX_POSITION:
        raise PeaksError(
            f"{url} line {number} is {line[:80]!r}; a BED line is chromosome, start, end "
            "separated by tabs, 0-based half-open with 0 <= start < end."
        )
    strand = fields[5].strip() if len(fields) > 5 else "."
    return chrom, start, end, strand if strand in ("+", "-") else "."
