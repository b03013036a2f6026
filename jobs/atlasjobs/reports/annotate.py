"""What `annotate` would store and what it stored, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasjobs.output.lines import Plan
from atlasjobs.output.units import count
from atlasjobs.reports.groups import left_out_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.verbs.annotate import AnnotateReport
    from atlasjobs.output.lines import Facts

__all__ = ["annotate_facts", "annotate_plan"]


def annotate_plan(model: str, cells: str, columns: Sequence[str] | None) -> Plan:
    """Plan storing labels; refuses what `annotate` would refuse."""
    from atlasbasset.verbs.annotate import check_annotate
    from atlasstore.models.model_store import ModelStore

    _, told, report = check_annotate(ModelStore.open(model), cells, columns=columns)
    rows = [*annotate_facts(report), *left_out_rows(told)]
    return Plan(f"Would store labels in {model}", rows, report.as_json())


def annotate_facts(report: AnnotateReport) -> Facts:
    """Describe stored labels."""
    replaced = set(report.replaced)
    return [
        (name, f"{count(n)} of {count(report.n_cells)} cells" + (", replaced" * (name in replaced)))
        for name, n in report.columns.items()
    ]
