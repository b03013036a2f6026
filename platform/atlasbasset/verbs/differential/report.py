"""What `differential` has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the report that `as_json` gave."""
        groups = (GroupFound(**{**g, "first": tuple(g["first"])}) for g in values["groups"])
        return cls(**{**values, "groups": tuple(groups)})
