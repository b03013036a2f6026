"""What `variants` has written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VariantsReport"]


@dataclass(frozen=True, slots=True)
class VariantsReport:
    """What was written."""

    result: str
    """URL of the result."""
    counts: Mapping[str, int]
    """Status -> variants that have it; "ok" are those with an effect."""
    group_by: str | None
    n_groups: int
    """Groups of cells, or cells where they were not grouped."""
    table_bytes: int
    """Size of the tables before compression."""
    was_finished: bool
    """Whether the same job had made it before, and nothing was done."""

    @property
    def n_variants(self) -> int:
        """Alternate alleles in the VCF."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"n_variants": self.n_variants, **asdict(self)}
