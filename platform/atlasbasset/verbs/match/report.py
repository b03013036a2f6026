"""What `match` has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MatchReport"]


@dataclass(frozen=True, slots=True)
class MatchReport:
    """What was found."""

    table: str
    """URL of the table."""
    n_regions: int
    n_motifs: int
    n_groups: int
    n_sites: int
    """Sites of motifs in the regions, whatever their p-value."""
    n_rows: int
    """Rows of the table: site and group."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)
