"""What `discover` found, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.verbs.discover import DiscoverReport
    from atlasstore.plans import Lines

__all__ = ["discover_facts"]

_LISTED = 20


def discover_facts(report: DiscoverReport) -> Lines:
    """Describe what was discovered."""
    shown = list(report.patterns.items())[:_LISTED]
    rows = [
        ("regions", count(report.n_regions)),
        ("group", report.group),
        *((f"pattern {name}", f"{count(seqlets)} seqlets") for name, seqlets in shown),
    ]
    if len(report.patterns) > _LISTED:
        rows.append(("more patterns", count(len(report.patterns) - _LISTED)))
    return [*rows, ("report", f"{report.folder}/report/motifs.html")]
