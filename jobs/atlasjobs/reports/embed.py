"""What writing a model's cells would take."""

from __future__ import annotations

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count, size

__all__ = ["embedding_plan"]

_FLOAT_BYTES = 4


def embedding_plan(model: str, out: str) -> Plan:
    """Plan writing a model's cells."""
    from atlasstore.files.staging import refuse_existing
    from atlasstore.models.model_store import ModelStore

    store = ModelStore.open(model)
    store.newest()
    refuse_existing(out)
    n_bytes = _FLOAT_BYTES * (32 + 1) * store.n_cells
    rows = [("cells", count(store.n_cells)), ("stored", f"about {size(n_bytes)}")]
    values = {"out": out, "n_cells": store.n_cells, "stored_bytes": n_bytes}
    return Plan(f"Would embed the cells into {out}", rows, values)
