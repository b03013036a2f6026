"""What a run of `preprocess` reports."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

__all__ = ["PreprocessReport"]


@dataclass(frozen=True, slots=True)
class PreprocessReport:
    """What `preprocess` made, or would make."""

    out: str
    """URL of the atlas."""
    dry_run: bool
    """Whether nothing was written; `stored_bytes` is an estimate then."""
    n_cells_in: int
    """Cells of all inputs."""
    n_peaks_in: int
    """Peaks of the inputs."""
    n_cells_few_peaks: int
    """Cells removed first, for having fewer than `min_peaks_per_cell` open peaks."""
    n_peaks_rare: int
    """Peaks removed next, for being open in too few of the cells left."""
    n_cells_emptied: int
    """Cells removed last, for having no open peak left."""
    n_cells: int
    """Cells in the atlas."""
    n_peaks: int
    """Peaks in the atlas."""
    n_positives: int
    """Pairs of cell and peak in which the peak is open."""
    density: float
    """Share of pairs of cell and peak in which the peak is open, 0..1."""
    n_blocks: int
    """Cell blocks."""
    block_cells: int
    """Cells in every block but the last."""
    splits: dict[str, int]
    """Split ("train", "valid", "test") -> peaks."""
    samples: dict[str, int]
    """Sample -> cells in the atlas."""
    stored_bytes: int
    """Size of the atlas on disk."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)
