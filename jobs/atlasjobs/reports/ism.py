"""What `ism` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.batch.run import Workers
    from atlasbasset.verbs.ism.ism import IsmReport
    from atlasstore.plans import Lines

__all__ = ["ism_facts", "ism_plan"]

_FLOAT_BYTES = 4


def ism_plan(model: str, out: str, chosen: Mapping[str, Any], *, pool: Workers) -> Plan:
    """Plan a mutagenesis; refuses what `ism` would refuse.

    Parameters
    ----------
    model, out
        URLs.
    chosen
        The options of `ism` that choose regions, span and groups.
    pool
        Who computes.
    """
    from atlasbasset.inference.model import trunk_config
    from atlasbasset.verbs.ism.plan import check_ism
    from atlasbasset.verbs.ism.work import mutation_bytes
    from atlasstore.models.model_store import ModelStore
    from atlasstore.resume.ledger import refuse_taken

    store = ModelStore.open(model)
    store.newest()
    refuse_taken(out)
    for url in (model, out):
        pool.reachable(url)
    plan = check_ism(store, **chosen)
    shards = len(list(plan.tables["obsm/ism"].shards()))
    trunk = trunk_config(store)
    model_bytes = _FLOAT_BYTES * (trunk.embedding_dim + 1) * store.n_cells
    memory = model_bytes + mutation_bytes(trunk, plan.tables)
    columns = "cells" if plan.group_by is None else f"groups by {plan.group_by}"
    rows = [
        ("regions", f"{count(plan.n_regions)} in {count(shards)} units"),
        ("mutated", f"{count(plan.span_bp)} bp of each, {count(3 * plan.span_bp)} substitutions"),
        ("columns", f"{count(plan.n_groups)} {columns}"),
        ("tables", f"{size(plan.n_bytes)} before compression"),
        ("memory", f"about {size(memory)} per worker beside the program"),
        ("workers", "this process" if not pool.count else f"{pool.count} Ray actors"),
    ]
    values = {
        "out": out,
        "n_regions": plan.n_regions,
        "n_units": shards,
        "span_bp": plan.span_bp,
        "n_groups": plan.n_groups,
        "group_by": plan.group_by,
        "table_bytes": plan.n_bytes,
        "memory_bytes": memory,
        "workers": pool.count,
    }
    return Plan(f"Would mutate regions into {out}", rows, values)


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
