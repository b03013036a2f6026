"""What `ism` did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.ism.report import IsmReport
    from atlasstore.plans import Lines

__all__ = ["ism_facts"]


def ism_facts(report: IsmReport, *, plot: str | None = None) -> Lines:
    """Describe a mutagenesis."""
    columns = "cells" if report.group_by is None else f"groups by {report.group_by}"
    rows = [
        ("regions", count(report.n_regions)),
        ("mutated", f"{count(report.span_bp)} bp of each"),
        ("columns", f"{count(report.n_groups)} {columns}"),
        ("tables", f"{size(report.table_bytes)} before compression"),
    ]
    if plot is not None:
        rows.append(("logos", plot))
    return rows
