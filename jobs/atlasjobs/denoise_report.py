"""What `denoise` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from atlasjobs.plans import Plan
from atlasjobs.units import count, size

if TYPE_CHECKING:
    from atlasbasset.batch.dense import DenseType
    from atlasbasset.batch.run import Workers
    from atlasbasset.verbs.denoise import DenoiseReport
    from atlasjobs.facts import Facts
    from atlasstore import Atlas

__all__ = ["denoise_facts", "denoise_plan"]

_FLOAT_BYTES = 4
_SHARD_COPIES = 3
"""Of a shard while it is computed, encoded and compressed."""


def denoise_plan(
    model: str,
    atlas: str,
    out: str,
    *,
    peaks: str | None,
    cells: str | None,
    genes: str | None,
    scale: str,
    dtype: DenseType | None,
    pool: Workers,
) -> Plan:
    """Plan a denoising; refuses an output that is taken and peaks that the atlas does not have.

    Parameters
    ----------
    model, atlas, out, peaks, cells, genes, scale
        As for `denoise`.
    dtype
        Of the dense table; None without one.
    pool
        Who computes.
    """
    from atlasbasset.model import trunk_config
    from atlasstore import Atlas as AtlasStore
    from atlasstore.ledger import refuse_taken
    from atlasstore.model_store import ModelStore

    refuse_taken(out)
    opened, store = AtlasStore.open(atlas), ModelStore.open(model)
    store.newest()
    for url in (model, atlas, out):
        pool.reachable(url)
    n_cells, columns = _chosen_cells(store.n_cells, cells), _columns(opened, peaks, genes)
    table, sizes = _table(n_cells, columns.n_columns, dtype)
    width = trunk_config(store).embedding_dim
    sizes |= {
        "factored_bytes": _FLOAT_BYTES * ((width + 1) * n_cells + width * columns.n_columns),
        "memory_bytes": _FLOAT_BYTES * ((width + 1) * store.n_cells + 2 * width * columns.n_peaks)
        + _SHARD_COPIES * sizes.get("shard_bytes", 0),
    }
    rows = [
        ("cells", f"{count(n_cells)} of {count(store.n_cells)}"),
        *columns.rows,
        ("scale", scale),
        ("factored form", size(sizes["factored_bytes"])),
        *table,
        ("workers", _workers_line(pool)),
        ("memory", f"about {size(sizes['memory_bytes'])}{' per worker' if pool.count else ''}"),
    ]
    values = {"out": out, "n_cells": n_cells, **columns.values, "workers": pool.count, **sizes}
    return Plan(f"Would denoise into {out}", rows, values)


class _Columns(NamedTuple):
    """Peaks, or genes with peaks of their own."""

    n_columns: int
    n_peaks: int
    """Peaks to embed."""
    rows: list[tuple[str, str]]
    values: dict[str, int]


def _columns(atlas: Atlas, bed: str | None, gtf: str | None) -> _Columns:
    from atlasbasset.verbs.denoise import chosen_peaks

    chosen = chosen_peaks(atlas, bed)
    n_peaks = len(chosen)
    if gtf is None:
        rows = [("peaks", f"{count(n_peaks)} of {count(atlas.n_peaks)}")]
        return _Columns(n_peaks, n_peaks, rows, {"n_peaks": n_peaks})
    from atlasstore.genes import genes_with_peaks, read_genes

    table = read_genes(gtf)
    kept, means = genes_with_peaks(table, atlas.var.iloc[chosen])
    n_genes, n_near = len(kept), len(set(means.indices))
    rows = [
        ("genes", f"{count(n_genes)} of {count(len(table))} have a peak near their TSS"),
        ("peaks", f"{count(n_near)} of {count(atlas.n_peaks)}"),
    ]
    return _Columns(n_genes, n_near, rows, {"n_genes": n_genes, "n_peaks": n_near})


def _table(
    n_cells: int, n_peaks: int, dtype: str | None
) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Return line and sizes of the dense table, nothing without one."""
    from atlasstore.results import plan_table

    if dtype is None:
        return [], {}
    plan = plan_table("X", (n_cells, n_peaks), dtype)
    line = f"{size(plan.n_bytes)} in {dtype}, {count(plan.n_shards)} shards"
    shard = plan.n_bytes // n_cells * min(n_cells, plan.shard_rows)
    found = {"dense_bytes": plan.n_bytes, "n_shards": plan.n_shards, "shard_bytes": shard}
    return [("dense table", line)], found


def _workers_line(pool: Workers) -> str:
    if not pool.count:
        return "this process"
    return f"{pool.count} Ray actors of {pool.cpus:g} CPUs and {pool.gpus:g} GPUs"


def _chosen_cells(n_cells: int, listed: str | None) -> int:
    from atlasstore.errors import UserInputError
    from atlasstore.textfiles import numbered_lines

    if listed is None:
        return n_cells
    return sum(1 for _, line in numbered_lines(listed, error=UserInputError) if line.strip())


def denoise_facts(report: DenoiseReport) -> Facts:
    """Describe a denoised result."""
    dense = f"{size(report.dense_bytes)} in {report.dtype}" if report.dtype else "not written"
    columns = ("peaks", report.n_peaks) if report.n_genes is None else ("genes", report.n_genes)
    rows = [
        (f"cells x {columns[0]}", f"{count(report.n_cells)} x {count(columns[1])}"),
        ("scale", report.scale),
        ("dense table", dense),
    ]
    if report.largest_error is not None:
        rows.append(("largest error", f"{report.largest_error:.2g}, by rounding to a byte"))
    return rows
