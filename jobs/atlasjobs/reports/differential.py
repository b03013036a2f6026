"""What `differential` found, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.verbs.differential.report import DifferentialReport, GroupFound
    from atlasstore.plans import Lines

__all__ = ["differential_facts"]


def differential_facts(report: DifferentialReport) -> Lines:
    """Describe each group's comparison, and the first of what is higher in it."""
    return [
        line
        for found in report.groups
        for line in ((found.group, _counts(found, report.unit)), *_first(found))
    ]


def _counts(found: GroupFound, unit: str) -> str:
    return (
        f"{count(found.n_cells)} cells against {count(found.n_reference)} of {found.reference}: "
        f"of {count(found.n_tested)} {unit}, {count(found.n_higher)} higher and "
        f"{count(found.n_lower)} lower at q < 0.05"
    )


def _first(found: GroupFound) -> Lines:
    return [("", f"highest: {', '.join(found.first)}")] if found.first else []
