"""What `motifs` has written."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["MotifReport"]


@dataclass(frozen=True, slots=True)
class MotifReport:
    """What was written."""

    result: str
    """URL of the result."""
    n_cells: int
    n_motifs: int
    n_backgrounds: int
    scale: str
    dense_bytes: int
    """Size of the z-scores before compression."""
    most_variable: tuple[str, ...]
    """TFs whose raw activity differs most between cells, at most 10, the first one most."""
    was_finished: bool
    """Whether the very same job had made the result before, so that nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "most_variable": list(self.most_variable)}
