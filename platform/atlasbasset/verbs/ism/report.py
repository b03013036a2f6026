"""What `ism` has made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["IsmReport"]


@dataclass(frozen=True, slots=True)
class IsmReport:
    """What was made."""

    result: str
    """URL of the result."""
    n_regions: int
    span_bp: int
    """Mutated positions of each region."""
    group_by: str | None
    n_groups: int
    """Groups of cells, or cells where they were not grouped."""
    table_bytes: int
    """Size of the tables before compression."""
    was_finished: bool
    """Whether the same job had made it before, and nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)
