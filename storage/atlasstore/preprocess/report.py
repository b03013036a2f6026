"""What a run of `preprocess` reports."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PreprocessReport", "WorkPlan"]


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """How the work is cut, estimated before it is done."""

    input_bytes: int
    """Size of the inputs; each is read once."""
    scratch_bytes: int
    """About what is next to the atlas while it is made: the open peaks, 1.6 bytes each."""
    workers: int
    """Blocks that are written at a time."""
    passes: int
    """How often a block's open peaks are read at most: once to count, once per range of peaks."""
    peak_memory_bytes: int
    """Memory expected at most, of this process (of each of a cluster's workers)."""
    memory_bytes: int
    """The bound on it."""


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
    left_out: dict[str, str]
    """Sample -> why it was left out, with `skip_bad`."""
    stored_bytes: int
    """Size of the atlas on disk."""
    work: WorkPlan
    """How the work was or would be cut."""
    n_peaks_unplaced: int = 0
    """Peaks of the inputs left out first, for lying outside the genome, if that was asked for."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Undo `as_json`."""
        return cls(**{**values, "work": WorkPlan(**values["work"])})
