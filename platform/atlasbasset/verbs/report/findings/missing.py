"""A part of the report that cannot be shown yet."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Missing"]


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a part is left out, and the command that makes it."""

    why: str
    """A sentence."""
    command: str | None = None
    """What to run, without the program's name; None where no command helps."""
