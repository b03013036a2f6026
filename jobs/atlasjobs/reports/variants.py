"""What `variants` did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.variants.plan import status_lines
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from atlasbasset.verbs.variants.report import VariantsReport
    from atlasstore.plans import Lines

__all__ = ["variants_facts"]


def variants_facts(report: VariantsReport) -> Lines:
    """Describe effects of variants."""
    columns = "cells" if report.group_by is None else f"groups by {report.group_by}"
    return [
        *status_lines(report.counts),
        ("columns", f"{count(report.n_groups)} {columns}"),
        ("tables", size(report.table_bytes)),
    ]
