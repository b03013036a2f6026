"""Lines of name and value: a verb's report, and its plan for ``--dry-run``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from atlasjobs.output.units import count, size

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Facts", "Plan", "Printer", "value_text"]

Facts = Sequence[tuple[str, str]]
"""Lines of a report: what, and its value with its unit."""


class Printer(Protocol):
    """Prints lines; what views of progress need of the output."""

    console: Console

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print one line."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What a verb would do."""

    title: str
    rows: Facts
    values: Mapping[str, Any]
    """The same numbers for ``--json``."""

    def as_json(self) -> Mapping[str, Any]:
        """Return JSON values."""
        return {"dry_run": True, **self.values}


def value_text(name: str, value: Any) -> str:
    """Return a value as a user reads it; the name tells the unit."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(key, item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(name, item) for item in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        if name.endswith("_bytes"):
            return size(value)
        return str(value) if name == "seed" else count(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
