"""What a store is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atlasjobs.output.lines import value_text
from atlasstore.lineage import lineage, lineage_lines
from atlasstore.text_units import stored_text

if TYPE_CHECKING:
    from atlasstore import StoreSummary
    from atlasstore.plans import Lines

__all__ = ["kind_of", "store_facts"]

_PLACES = {"chrom", "start", "end"}
_PEAK = re.compile(r"[:_-][0-9]+[-_][0-9]+$")
"""The end of a peak's name."""

_IN_LINEAGE = ("model", "atlas", "start", "inputs", "job")
"""Parts of a provenance that the way back tells; in full in the JSON."""


def store_facts(summary: StoreSummary) -> Lines:
    """Describe a store."""
    version = "" if summary.version is None else f" version {summary.version}"
    rows = [("format", f"{summary.format}{version}")]
    rows += [(name, value_text(name, value)) for name, value in summary.sizes.items()]
    rows.append(("stored", stored_text(summary.stored_bytes)))
    rows += lineage_lines(lineage(summary.provenance))
    rows += [row for name, value in summary.provenance.items() for row in _origin(name, value)]
    if summary.verified:
        rows.append(("verified", "every byte was read and is right"))
    return rows


def kind_of(summary: StoreSummary) -> str:
    """Return the format, and of an AnnData of others whether it has peaks."""
    if summary.format == "AnnData" and not summary.provenance and summary.sizes["X"] is not None:
        names = summary.sizes["var_names"]
        placed = {str(name).lower() for name in summary.sizes["var_columns"]} >= _PLACES
        if names and (placed or all(_PEAK.search(name) for name in names)):
            return "AnnData of peaks"
    return summary.format.removesuffix(" (parquet)")


def _origin(name: str, value: Any) -> list[tuple[str, str]]:
    """Return the lines of one part of a store's provenance."""
    if name in _IN_LINEAGE:
        return []
    if name == "config" and isinstance(value, Mapping):
        return [
            (f"config {key}", value_text(key, item))
            for key, item in value.items()
            if key not in _IN_LINEAGE
        ]
    return [(name, value_text(name, value))]
