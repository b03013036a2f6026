"""Lines of what and value: a value as a user reads it, and who prints lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from rich.console import Console

    from atlasstore.plans import Lines

__all__ = ["Planned", "Printer", "value_text"]


class Printer(Protocol):
    """Prints lines; what views of progress need of the output."""

    console: Console

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print one line."""
        ...


class Planned(Protocol):
    """What ``--dry-run`` prints: every verb's `atlasstore.plans.Plan`, and the demo's."""

    @property
    def title(self) -> str:
        """What would be done."""
        ...

    def lines(self) -> Lines:
        """Return what and value."""
        ...

    def as_json(self) -> Mapping[str, Any]:
        """Return JSON values."""
        ...


def value_text(name: str, value: Any) -> str:
    """Return a value as a user reads it; the name tells the unit."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(key, item)}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(name, item) for item in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        if name.endswith("_bytes"):
            return size(value)
        return str(value) if name == "seed" else count(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
