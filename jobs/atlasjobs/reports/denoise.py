"""What `denoise` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from atlasjobs.output.lines import Plan
from atlasjobs.output.units import count, size
from atlasstore.zarrio.table_plan import plan_table

if TYPE_CHECKING:
    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.verbs.denoise.denoise import DenoiseReport
    from atlasbasset.verbs.denoise.work import DenseType
    from atlasjobs.output.lines import Facts
    from atlasstore import Atlas
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = ["denoise_facts", "denoise_plan"]

_FLOAT_BYTES = 4


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
    pool: WorkerPool,
) -> Plan:
    """Plan a denoising; refuses what `denoise` would refuse.

    Parameters
    ----------
    model, atlas, out, peaks, cells, genes, scale
        As for `denoise`.
    dtype
        Of the dense table; None without one.
    pool
        Who computes.
    """
    from atlasbasset.inference.model import check_scale, trunk_config
    from atlasbasset.verbs.denoise.denoise import chosen_cells
    from atlasbasset.verbs.denoise.genes import check_gene_table
    from atlasbasset.verbs.shared.atlas_peaks import check_window
    from atlasstore import Atlas as AtlasStore
    from atlasstore.models.model_store import ModelStore
    from atlasstore.resume.ledger import refuse_taken

    check_scale(scale)
    if genes is not None:
        check_gene_table(scale, dtype)
    refuse_taken(out)
    opened, store = AtlasStore.open(atlas), ModelStore.open(model)
    store.newest()
    check_window(store, opened)
    for url in (model, atlas, out):
        pool.worker_url(url)
    n_cells = len(chosen_cells(store.obs.index, cells))
    columns = _columns(opened, peaks, genes)
    plan = None if dtype is None else plan_table("X", (n_cells, columns.n_columns), dtype)
    work = _Work(trunk_config(store), store.n_cells, n_cells, columns, scale, plan, pool)
    sizes = {
        "factored_bytes": work.factored_bytes,
        "memory_bytes": work.memory_bytes,
        **_table_sizes(plan),
    }
    rows = [
        ("cells", f"{count(n_cells)} of {count(store.n_cells)}"),
        *columns.rows,
        ("scale", scale),
        ("factored form", size(sizes["factored_bytes"])),
        *_table_rows(plan),
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

    @property
    def are_genes(self) -> bool:
        """Whether they are genes."""
        return "n_genes" in self.values


def _columns(atlas: Atlas, bed: str | None, gtf: str | None) -> _Columns:
    from atlasbasset.verbs.denoise.denoise import chosen_peaks

    chosen = chosen_peaks(atlas, bed)
    n_peaks = len(chosen)
    if gtf is None:
        rows = [("peaks", f"{count(n_peaks)} of {count(atlas.n_peaks)}")]
        return _Columns(n_peaks, n_peaks, rows, {"n_peaks": n_peaks})
    from atlasstore.genome.genes import genes_with_peaks, read_genes

    table = read_genes(gtf)
    kept, means = genes_with_peaks(table, atlas.var.iloc[chosen])
    n_genes, n_near = len(kept), len(set(means.indices))
    rows = [
        ("genes", f"{count(n_genes)} of {count(len(table))} have a peak near their TSS"),
        ("peaks", f"{count(n_near)} of {count(atlas.n_peaks)}"),
    ]
    return _Columns(n_genes, n_near, rows, {"n_genes": n_genes, "n_peaks": n_near})


class _Work(NamedTuple):
    """What is held and written."""

    config: TrunkConfig
    n_model_cells: int
    n_cells: int
    """Chosen ones."""
    columns: _Columns
    scale: str
    plan: TablePlan | None
    pool: WorkerPool

    @property
    def factored_bytes(self) -> int:
        """Of the factors and intercepts that are written."""
        width = self.config.embedding_dim
        return _FLOAT_BYTES * ((width + 1) * self.n_cells + width * self.columns.n_columns)

    @property
    def memory_bytes(self) -> int:
        """Of a worker in addition to the program: the model's cells and the largest stage."""
        from atlasbasset.core.inference import embedding_bytes

        width, n_peaks = self.config.embedding_dim, self.columns.n_peaks
        model = _FLOAT_BYTES * (width + 1) * self.n_model_cells
        factors = _FLOAT_BYTES * width * (self.n_cells + n_peaks)
        embedding = embedding_bytes(self.config, n_peaks)
        return model + max(embedding, factors, self._spanning, self._writing)

    @property
    def _spanning(self) -> int:
        from atlasbasset.verbs.denoise.work import spanning_bytes

        if self.plan is None or (self.plan.dtype, self.scale) != ("uint8", "linear"):
            return 0
        return spanning_bytes(self.n_cells, self.columns.n_peaks, self.config.embedding_dim)

    @property
    def _writing(self) -> int:
        from atlasbasset.verbs.denoise.genes import averaging_bytes
        from atlasbasset.verbs.denoise.work import writing_bytes

        if self.plan is None:
            return 0
        n_peaks, width = self.columns.n_peaks, self.config.embedding_dim
        is_averaged = self.columns.are_genes and self.scale != "linear"
        beside = averaging_bytes(self.plan, n_peaks) if is_averaged else 0
        return writing_bytes(self.plan, n_peaks, width, workers=self.pool, beside=beside)


def _table_rows(plan: TablePlan | None) -> list[tuple[str, str]]:
    if plan is None:
        return []
    line = f"{size(plan.n_bytes)} in {plan.dtype}, {count(plan.n_shards)} shards"
    return [("dense table", line)]


def _table_sizes(plan: TablePlan | None) -> dict[str, int]:
    if plan is None:
        return {}
    shard = plan.n_bytes // plan.shape[0] * min(plan.shape[0], plan.shard_rows)
    return {"dense_bytes": plan.n_bytes, "n_shards": plan.n_shards, "shard_bytes": shard}


def _workers_line(pool: WorkerPool) -> str:
    if not pool.count:
        return "this process"
    return f"{pool.count} Ray actors of {pool.cpus:g} CPUs and {pool.gpus:g} GPUs"


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
