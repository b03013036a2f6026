"""What `ism` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasjobs.plans import Plan
from atlasjobs.units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.verbs.ism import IsmReport
    from atlasjobs.facts import Facts

__all__ = ["ism_facts", "ism_plan"]


def ism_plan(model: str, out: str, chosen: Mapping[str, Any], *, workers: int) -> Plan:
    """Plan a mutagenesis; refuses what `ism` would refuse.

    Parameters
    ----------
    model, out
        URLs.
    chosen
        The options of `ism` that choose regions, span and groups.
    workers
        Ray actors, 0 for this process.
    """
    from atlasbasset.verbs.ism_plan import check_ism
    from atlasstore.ledger import refuse_taken
    from atlasstore.model_store import ModelStore

    store = ModelStore.open(model)
    store.newest()
    refuse_taken(out)
    plan = check_ism(store, **chosen)
    shards = len(list(plan.tables["obsm/ism"].shards()))
    columns = "cells" if plan.group_by is None else f"groups by {plan.group_by}"
    rows = [
        ("regions", f"{count(plan.n_regions)} in {count(shards)} units"),
        ("mutated", f"{count(plan.span_bp)} bp of each, {count(3 * plan.span_bp)} substitutions"),
        ("columns", f"{count(plan.n_groups)} {columns}"),
        ("tables", f"{size(plan.n_bytes)} before compression"),
        ("workers", "this process" if not workers else f"{workers} Ray actors"),
    ]
    values = {
        "out": out,
        "n_regions": plan.n_regions,
        "n_units": shards,
        "span_bp": plan.span_bp,
        "n_groups": plan.n_groups,
        "group_by": plan.group_by,
        "table_bytes": plan.n_bytes,
        "workers": workers,
    }
    return Plan(f"Would mutate regions into {out}", rows, values)


def ism_facts(report: IsmReport, *, plot: str | None = None) -> Facts:
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
