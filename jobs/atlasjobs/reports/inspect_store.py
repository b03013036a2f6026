"""What a store is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atlasjobs.output.lines import value_text
from atlasstore.text_units import size

if TYPE_CHECKING:
    from atlasstore import StoreSummary
    from atlasstore.plans import Lines

__all__ = ["store_facts"]


def store_facts(summary: StoreSummary) -> Lines:
    """Describe a store."""
    version = "" if summary.version is None else f" version {summary.version}"
    rows = [("format", f"{summary.format}{version}")]
    rows += [(name, value_text(name, value)) for name, value in summary.sizes.items()]
    rows.append(("stored", size(summary.stored_bytes)))
    rows += [row for name, value in summary.provenance.items() for row in _origin(name, value)]
    if summary.verified:
        rows.append(("verified", "every byte was read and is right"))
    return rows


def _origin(name: str, value: Any) -> list[tuple[str, str]]:
    """Return the lines of one part of a store's provenance."""
    if isinstance(value, Mapping) and "created" in value:  # a store that this one was made from
        return [(f"{name} made", f"{value['created']} (its provenance in full: --json -)")]
    if name == "inputs":
        return [("input", value_text(name, item)) for item in value]
    if name == "config" and isinstance(value, Mapping):
        return [(f"config {key}", value_text(key, item)) for key, item in value.items()]
    return [(name, value_text(name, value))]
