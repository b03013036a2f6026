"""How much of `match` is in memory at once; no number depends on it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SIZES", "Sizes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is held at once."""

    part_bytes: int = 24 << 20
    """Of each part: scores of regions, sites with theirs, sites that words are taken from."""
    scores: int = 1 << 21
    """Scores at sites that are picked together."""
    rows: int = 1 << 15
    """Rows of the table."""

    def of_part(self, each_bytes: float) -> int:
        """Return how many of something fit into a part, at least 1."""
        return max(1, int(self.part_bytes // max(1, each_bytes)))

    def sites(self, width: int, n_groups: int) -> int:
        """Return how many sites of a motif have their scores picked together, at least 1."""
        return max(1, self.scores // (width * 4 * n_groups))


SIZES = Sizes()
