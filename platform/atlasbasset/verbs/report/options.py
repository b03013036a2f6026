"""What a report is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlasbasset.batch.executor import WorkerPool
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from atlasbasset.inference.cell_labels import Obs

__all__ = ["ReportOptions"]

_LEAST_CELLS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """Columns, sizes and seed of a report."""

    label_key: str | None = None
    """Column of obs with each cell's label; None takes Leiden clusters in their place."""
    batch_key: str | None = None
    """Column of obs with each cell's batch."""
    obs: Obs | None = None
    """Table of cells with these columns; the model's obs by default."""
    tfs: tuple[str, ...] = ()
    """TFs, or motifs, to colour the cells by; the first of each group by default."""
    loci: tuple[str, ...] = ()
    """Regions whose tracks are shown; by default the peaks that differ most between groups."""
    max_cells: int = 20_000
    """Cells shown and measured; of more, a seeded sample."""
    max_peaks: int = 2_000
    """Held-out peaks predicted; of more, a seeded sample."""
    seed: int = 0
    """Of the samples, the map and the clusters."""
    pool: WorkerPool = field(default_factory=WorkerPool)
    """Who embeds sequences and reads labels."""

    def __post_init__(self) -> None:
        if self.max_cells < _LEAST_CELLS:
            raise UserInputError(f"max_cells is {self.max_cells}; it must be 2 or more.")
        if self.max_peaks < 1:
            raise UserInputError(f"max_peaks is {self.max_peaks}; it must be 1 or more.")
        if self.seed < 0:
            raise UserInputError(f"seed is {self.seed}; it must be 0 or more.")
