"""What is said of groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasjobs.output.lines import Facts

__all__ = ["left_out_rows"]


def left_out_rows(told: str | None) -> Facts:
    """Return a row on cells that are in no group, or none."""
    return [("left out", told)] if told else []
