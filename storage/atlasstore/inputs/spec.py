"""One input: where it is stored and how it is read, as values that pickle."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_MAPQ", "SourceSpec"]

MIN_MAPQ = 30
"""Least mapping quality of a read, for BAM."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceSpec:
    """One input: where it is stored and how it is read; nothing is open."""

    name: str
    """The path or URL as the person gave it, for messages."""
    url: str
    """What is read: the input, or its cell-major copy."""
    kind: str
    """As `input_kind` says."""
    peaks: str | None = None
    """Peak BED; for fragments and BAM."""
    barcodes: str | None = None
    """Barcode list."""
    min_mapq: int = MIN_MAPQ
    """Least mapping quality; for BAM."""
    matrix: str = "X"
    """Where its counts are: ``X``, ``layers/NAME`` or ``raw/X``; for AnnData."""
    rows: Ints | None = None
    """The stored cells that are used, rising, int64; None for all."""
    columns: Ints | None = None
    """The stored features that are the atlas's peaks, in its order, int64; None for all."""

    def copied_to(self, url: str) -> SourceSpec:
        """Return how to open the cell-major copy at `url`."""
        return replace(self, url=url, kind="zarr", matrix="X", rows=None, columns=None)
