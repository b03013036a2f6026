"""What `differential` has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["DifferentialReport", "GroupFound"]


@dataclass(frozen=True, slots=True)
class GroupFound:
    """What one group's comparison found."""

    group: str
    reference: str
    n_cells: int
    """Cells of the group."""
    n_reference: int
    n_tested: int
    """Peaks or motifs that were tested."""
    n_higher: int
    """Of these, higher in the group at q < 0.05."""
    n_lower: int
    typical: float | None
    """Log odds ratio of a peak that does not differ, which effects are relative to; None for
    motifs."""
    first: tuple[str, ...]
    """Names of the up to five most significant that are higher in the group."""


@dataclass(frozen=True, slots=True)
class DifferentialReport:
    """What was tested and found."""

    table: str
    """URL of the table."""
    unit: str
    """What a row is of: peaks or motifs."""
    n_bins: int
    """Bins of cells that are alike; 0 for motifs."""
    groups: tuple[GroupFound, ...]

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        found = asdict(self)
        return {**found, "groups": [{**g, "first": list(g["first"])} for g in found["groups"]]}
