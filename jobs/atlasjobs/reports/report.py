"""What `report` wrote, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.report.plan import ReportWritten
    from atlasstore.plans import Lines

__all__ = ["report_facts"]


def report_facts(written: ReportWritten) -> Lines:
    """Describe a page: what is on it, what is not, and what it warns of."""
    return [
        ("page", f"{count(written.n_figures)} figures, {size(written.n_bytes)}"),
        ("cells shown", count(written.n_cells)),
        *(("warning", sentence) for sentence in written.warnings),
        *(("left out", sentence) for sentence in written.missing),
    ]
