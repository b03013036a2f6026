"""The plan of `denoise`: what is read, written and held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.core.inference import embedding_bytes
from atlasbasset.inference.model import check_scale
from atlasbasset.inference.selection import named_rows
from atlasbasset.verbs.denoise.genes import GeneStages, averaging_bytes, check_gene_table
from atlasbasset.verbs.denoise.report import DenoiseReport
from atlasbasset.verbs.denoise.stages import DenoiseStages
from atlasbasset.verbs.denoise.work import DTYPES, spanning_bytes, writing_bytes
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.gene_columns import gene_columns
from atlasbasset.verbs.shared.plan import (
    FLOAT_BYTES,
    PlannedModel,
    finished_line,
    is_finished,
    notice_lines,
    workers_in_full,
)
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files.text import numbered_lines
from atlasstore.genome.genes import REACH_BP
from atlasstore.genome.overlaps import overlapping_rows
from atlasstore.genome.peaks import read_bed
from atlasstore.plans import Plan
from atlasstore.results.result import Result
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.model import Model, Scale
    from atlasbasset.verbs.denoise.work import DenseType
    from atlasbasset.verbs.shared.gene_columns import GeneColumns
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = ["DenoisePlan", "plan_denoise"]


@dataclass(frozen=True, eq=False, repr=False)
class DenoisePlan(Plan[DenoiseReport]):
    """Checked input of `denoise`, and its sizes; made by `plan_denoise`."""

    model: PlannedModel
    atlas: Atlas
    out: str
    peaks: NDArray[np.int64]
    """Rows of the atlas's peaks that are embedded."""
    cells: NDArray[np.int64]
    """Chosen rows of the model's cells."""
    genes: GeneColumns | None
    scale: Scale
    dtype: DenseType | None
    """Of the dense table; None without one."""
    workers: WorkerPool
    deviates: bool = False
    """Whether the peaks' deviations are part of the predictions."""
    notice: str | None = None
    """A sentence on deviations that do not fit, if any."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would denoise into {self.out}"

    @cached_property
    def _stages(self) -> DenoiseStages:
        given: dict[str, Any] = {
            "model": self.model.loaded,
            "atlas": self.atlas,
            "peaks": self.peaks,
            "cells": self.cells,
            "scale": self.scale,
            "dtype": self.dtype,
            "workers": self.workers,
            "deviation": self._deviation,
        }
        if self.genes is None:
            return DenoiseStages(**given)
        return GeneStages(**given, genes=self.genes.table, means=self.genes.means)

    @property
    def _deviation(self) -> NDArray[np.float32] | None:
        found = self.model.loaded.deviations
        return found.deviation[self.peaks] if self.deviates and found is not None else None

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the result already."""
        return is_finished(self.out, lambda: self._stages.identity)

    @property
    def n_columns(self) -> int:
        """Peaks, or genes."""
        return len(self.peaks) if self.genes is None else len(self.genes.table)

    @cached_property
    def table(self) -> TablePlan | None:
        """How the dense table is cut; None without one."""
        return DenoiseStages.table_of(len(self.cells), self.n_columns, self.dtype)

    @property
    def factored_bytes(self) -> int:
        """Of the factors and intercepts that are written."""
        return self.model.row_bytes * len(self.cells) + self._factor_bytes * self.n_columns

    @property
    def memory_bytes(self) -> int:
        """Of a worker in addition to the program: the model's cells and the largest stage."""
        n_peaks = len(self.peaks)
        embedding = embedding_bytes(self.model.trunk, n_peaks)
        factors = self._factor_bytes * (len(self.cells) + n_peaks)
        return self.model.table_bytes + max(embedding, factors, self._spanning, self._writing)

    @property
    def _factor_bytes(self) -> int:
        return FLOAT_BYTES * self.model.trunk.embedding_dim

    @property
    def _spanning(self) -> int:
        if (self.dtype, self.scale) != ("uint8", "linear"):
            return 0
        return spanning_bytes(len(self.cells), len(self.peaks), self.model.trunk.embedding_dim)

    @property
    def _writing(self) -> int:
        if self.table is None:
            return 0
        n_peaks, width = len(self.peaks), self.model.trunk.embedding_dim
        is_averaged = self.genes is not None and self.scale != "linear"
        beside = averaging_bytes(self.table, n_peaks) if is_averaged else 0
        return writing_bytes(self.table, n_peaks, width, workers=self.workers, beside=beside)

    def lines(self) -> Lines:
        """Return cells, columns, bytes, workers and memory."""
        each = " per worker" if self.workers.count else ""
        return [
            ("cells", f"{count(len(self.cells))} of {count(self.model.n_cells)}"),
            *self._column_lines(),
            ("scale", self.scale),
            *notice_lines("peak deviations", self.notice or ("used" if self.deviates else None)),
            ("factored form", size(self.factored_bytes)),
            *self._table_lines(),
            ("arithmetic", self.model.arithmetic),
            ("workers", workers_in_full(self.workers)),
            ("memory", f"about {size(self.memory_bytes)}{each}"),
            *finished_line(is_finished=self.is_finished),
        ]

    def _column_lines(self) -> Lines:
        peaks = ("peaks", f"{count(len(self.peaks))} of {count(self.atlas.n_peaks)}")
        if self.genes is None:
            return [peaks]
        n_genes, n_in_file = count(self.n_columns), count(self.genes.n_in_file)
        return [("genes", f"{n_genes} of {n_in_file} have a peak near their TSS"), peaks]

    def _table_lines(self) -> Lines:
        if (table := self.table) is None:
            return []
        shards = f"{count(table.n_shards)} shards"
        return [("dense table", f"{size(table.n_bytes)} in {table.dtype}, {shards}")]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        genes = {} if self.genes is None else {"n_genes": self.n_columns}
        return {
            "out": self.out,
            "n_cells": len(self.cells),
            **genes,
            "n_peaks": len(self.peaks),
            "workers": self.workers.count,
            "factored_bytes": self.factored_bytes,
            "memory_bytes": self.memory_bytes,
            **self._table_values(),
        }

    def _table_values(self) -> dict[str, int]:
        if (table := self.table) is None:
            return {}
        shard = table.n_bytes // table.shape[0] * min(table.shape[0], table.shard_rows)
        return {"dense_bytes": table.n_bytes, "n_shards": table.n_shards, "shard_bytes": shard}

    def _run(self, on_event: Subscriber) -> DenoiseReport:
        self._tell(on_event)
        if not self.is_finished:
            self.model.tell_arithmetic(on_event)
        work = self._stages
        was_finished = run_job(
            self.out, work.run, identity=work.identity, pool=self.workers, on_event=on_event
        )
        return self._report(was_finished=was_finished)

    def _tell(self, on_event: Subscriber) -> None:
        if self.notice:
            on_event(Notice(self.notice))
        if self.genes is None:
            return
        if n_without := self.genes.n_in_file - self.n_columns:
            said = f"{n_without:,} of {self.genes.n_in_file:,} genes have no peak within"
            on_event(Notice(f"{said} {REACH_BP:,} bp of their TSS and are left out."))

    def _report(self, *, was_finished: bool) -> DenoiseReport:
        error = Result.open(self.out).about.get("largest_error")
        return DenoiseReport(
            result=self.out,
            n_cells=len(self.cells),
            n_peaks=len(self.peaks),
            n_genes=None if self.genes is None else self.n_columns,
            scale=self.scale,
            dtype=self.dtype,
            dense_bytes=0 if self.table is None else self.table.n_bytes,
            largest_error=None if error is None else float(error),
            peak_deviations=self.deviates,
            was_finished=was_finished,
        )


def plan_denoise(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    peaks: str | Path | Sequence[str] | None = None,
    cells: str | Path | Sequence[str] | None = None,
    genes: str | Path | None = None,
    scale: Scale = "linear",
    dtype: DenseType = "float32",
    dense: bool = True,
    sequence_only: bool = False,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> DenoisePlan:
    """Plan `denoise`: check its input and compute its sizes; nothing is written.

    Parameters are those of `denoise`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_denoise("model.zarr", "atlas.zarr", out="denoised.zarr")  # doctest: +SKIP
    >>> print(plan)  # doctest: +SKIP
    >>> plan.run()  # doctest: +SKIP
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    kept = _check_table(scale, dtype, dense=dense, is_of_genes=genes is not None)
    source = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    check_window(planned.store, source)
    for url in (planned.url, source.url, out):
        pool.worker_url(url)
    deviates, notice = (False, None) if sequence_only else planned.deviates_on(source)
    rows, columns = _columns(source, _chosen_peaks(source, peaks), genes)
    plan = DenoisePlan(
        model=planned,
        atlas=source,
        out=str(out),
        peaks=rows,
        cells=_chosen_cells(planned.store.obs.index, cells),
        genes=columns,
        scale=scale,
        dtype=kept,
        workers=pool,
        deviates=deviates,
        notice=notice,
    )
    _ = plan.is_finished  # refuses an output that is taken
    return plan


def _check_table(
    scale: str, dtype: DenseType, *, dense: bool, is_of_genes: bool
) -> DenseType | None:
    """Return the dtype of the dense table, None without one."""
    check_scale(scale)
    if dtype not in DTYPES:
        raise UserInputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}.")
    kept = dtype if dense else None
    if is_of_genes:
        check_gene_table(scale, kept)
    return kept


def _columns(
    atlas: Atlas, rows: NDArray[np.int64], gtf: str | Path | None
) -> tuple[NDArray[np.int64], GeneColumns | None]:
    """Return the peaks to embed, and the genes that are columns in their place."""
    if gtf is None:
        return rows, None
    found = gene_columns(atlas, rows, gtf)
    return found.peaks, found


def _chosen_peaks(atlas: Atlas, peaks: str | Path | Sequence[str] | None) -> NDArray[np.int64]:
    if peaks is None:
        return np.arange(atlas.n_peaks)
    if isinstance(peaks, str | Path):
        return overlapping_rows(atlas.var, read_bed(peaks), name=str(peaks))
    return _some(named_rows(atlas.var.index, peaks, unit="peaks"), "peaks")


def _chosen_cells(
    names: pd.Index[str], cells: str | Path | Sequence[str] | None
) -> NDArray[np.int64]:
    if cells is None:
        return np.arange(len(names))
    if isinstance(cells, str | Path):
        lines = (line.strip() for _, line in numbered_lines(cells, error=UserInputError))
        cells = [line for line in lines if line]
    return _some(named_rows(names, cells, unit="cells"), "cells")


def _some(rows: NDArray[np.int64], unit: str) -> NDArray[np.int64]:
    if not rows.size:
        raise UserInputError(f"the list of {unit} is empty; leave it out to take all of them.")
    return rows
