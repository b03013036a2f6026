"""Gene accessibility: the mean denoised accessibility of the peaks around each gene's TSS.

The columns of `denoise` are genes here (docs/method.md, "Gene accessibility"). On the linear scale
a mean of predictions is the prediction of a mean embedding, so a gene has factors as a peak has,
and every cell's value is one small product. On the other scales the peaks of a shard's cells are
predicted, then averaged; such a result has no factors of genes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.batch.job import JobIdentity, run_job
from atlasbasset.batch.model_source import digest_of
from atlasbasset.verbs.denoise.stages import DenoiseStages
from atlasbasset.verbs.denoise.work import WriteDense, dense_units
from atlasbasset.verbs.shared.embed_peaks_work import read_embedded
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.genome.genes import REACH_BP, gene_factors, genes_with_peaks, read_genes
from atlasstore.results.writer import create_result
from atlasstore.resume.units import Stage
from atlasstore.zarrio.blocks import runs
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT, SEQUENCE
from atlasstore.zarrio.table_plan import TablePlan, plan_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from scipy import sparse
    from torch import Tensor

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.inference.model import Model, Scale
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["GeneReport", "WriteGenes", "averaging_bytes", "check_gene_table", "denoise_genes"]

_TILE_CELLS = 256
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class GeneReport:
    """What was written."""

    result: str
    """URL of the result."""
    n_cells: int
    n_genes: int
    """Genes with a peak near their TSS."""
    n_peaks: int
    """Peaks near any of their TSSs."""
    n_genes_without_peaks: int
    """Genes of the file that were left out."""
    scale: str
    dtype: str | None
    """Of the dense table; None without one."""
    dense_bytes: int
    """Size of the dense table before compression; 0 without one."""
    was_finished: bool
    """Whether the very same job had made the result before, so that nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def denoise_genes(
    model: Model,
    atlas: Atlas,
    *,
    genes: str | Path,
    out: str | Path,
    peaks: NDArray[np.int64],
    cells: NDArray[np.int64],
    scale: Scale,
    dtype: str | None,
    workers: WorkerPool,
    on_event: Subscriber = ignore,
) -> GeneReport:
    """Predict the accessibility of genes in a model's cells; `denoise` checks its input first.

    Parameters
    ----------
    model, atlas
        Of one window length.
    genes
        A GTF or GFF3 file, plain or gzip, path or URL; `atlasstore.genome.genes` says what the
        TSS is.
    out
        URL of the new result: cells x genes that have a peak within 2 kb of their TSS.
    peaks, cells
        Chosen rows of the atlas's peaks and the model's cells.
    scale
        On which predictions are averaged.
    dtype
        Of the dense table, "float32" or "float16"; None for the factored form alone.
    workers
        Who computes.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When genes and peaks do not fit, or the dtype or the scale cannot be had.
    StoreExistsError
        When anything but this very job's result lies at `out`.
    """
    check_gene_table(scale, dtype)
    table = read_genes(genes)
    kept, means = genes_with_peaks(table, atlas.var.iloc[peaks])
    used = np.unique(means.indices)
    n_without = len(table) - len(kept)
    if n_without:
        said = f"{n_without:,} of {len(table):,} genes have no peak within {REACH_BP:,} bp"
        on_event(Notice(f"{said} of their TSS and are left out."))
    work = GeneStages(
        model, atlas, peaks[used], cells, scale, dtype, workers, genes=kept, means=means[:, used]
    )
    was_finished = run_job(out, work.run, identity=work.identity, pool=workers, on_event=on_event)
    return GeneReport(
        result=str(out),
        n_cells=len(cells),
        n_genes=len(kept),
        n_peaks=len(used),
        n_genes_without_peaks=n_without,
        scale=scale,
        dtype=dtype,
        dense_bytes=0 if work.plan is None else work.plan.n_bytes,
        was_finished=was_finished,
    )


def check_gene_table(scale: str, dtype: str | None) -> None:
    """Raise UserInputError for a scale and dtype (None: no table) that genes cannot have."""
    if dtype not in ("float32", "float16", None):
        raise UserInputError(
            f"gene accessibility is stored as float32 or float16, got {dtype!r}; choose one."
        )
    if dtype is None and scale != "linear":
        raise UserInputError(
            f"genes have factors on the linear scale only, and the scale is {scale}; leave out "
            "--no-dense, or take --scale linear."
        )


def averaging_bytes(plan: TablePlan, n_peaks: int) -> int:
    """Return what averaging predictions of peaks takes beside writing, for a shard under way."""
    tile = min(plan.shape[0], _TILE_CELLS) * (n_peaks + plan.shape[1])
    means = plan.shape[1] * min(plan.shape[0], plan.shard_rows)
    return _FLOAT_BYTES * (tile + 2 * means)


@dataclass(frozen=True, eq=False)
class GeneStages(DenoiseStages):
    """A job whose input has been checked; `peaks` are those near a TSS."""

    genes: pd.DataFrame = field(kw_only=True)
    """One row per column of the result."""
    means: sparse.csr_array = field(kw_only=True)
    """(genes, peaks): see `genes_with_peaks`."""

    @property
    def plan(self) -> TablePlan | None:
        """How the dense table is cut; None without one."""
        if self.dtype is None:
            return None
        return plan_table("X", (len(self.cells), len(self.genes)), self.dtype)

    @cached_property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        found = super().identity
        columns = [*self.genes.index, *self.genes.drop(columns="n_peaks").to_csv().splitlines()]
        digest = digest_of(columns, self.means.indptr, self.means.indices)
        return replace(found, config={**found.config, "genes": digest})

    def run(self, job: ResumableJob) -> None:
        """Do every stage and publish."""
        peaks_url = urls.join(job.scratch, "peaks")
        self._embed(job, peaks_url)
        job.once("create", lambda: self._create_genes(job.place, read_embedded(peaks_url)))
        if (plan := self.plan) is not None:
            work = WriteGenes(
                self._source,
                self.cells,
                peaks_url,
                job.place,
                plan,
                self.scale,
                means=self.means,
            )
            stage = Stage("writing gene accessibility", "cells")
            job.run("shards", dense_units(plan), work, stage=stage)
        self._publish(job)

    def _create_genes(self, place: str, h: NDArray[np.float32]) -> None:
        is_linear = self.scale == "linear"
        create_result(
            place,
            kind="gene_accessibility",
            obs=self.model.obs.iloc[self.cells].assign(
                **{INTERCEPT: self.model.intercept[self.cells]}
            ),
            var=self.genes,
            obsm={EMBEDDING: self.model.cell_embedding[self.cells]},
            varm={SEQUENCE: gene_factors(self.means, h)} if is_linear else {},
            tables=[] if self.plan is None else [self.plan],
            about={"scale": self.scale, "reach_bp": REACH_BP},
        )


@dataclass(frozen=True, eq=False)
class WriteGenes(WriteDense):
    """Work: compute and write one shard of the table of genes."""

    means: sparse.csr_array = field(kw_only=True)
    """(genes, peaks)."""

    @cached_property
    def _factors(self) -> Tensor:
        """Of the genes, (E, genes)."""
        return torch.from_numpy(gene_factors(self.means, read_embedded(self.peaks_url))).T

    def _values(self, rows: NDArray[np.int64]) -> Tensor:
        """Return gene accessibility, float32 (cells, genes)."""
        if self.scale == "linear":
            return torch.from_numpy(self.model.whole.cell_embedding[rows]) @ self._factors
        tiles = [
            super(WriteGenes, self)._values(rows[i:j]) for i, j in runs(len(rows), _TILE_CELLS)
        ]
        means = [(self.means @ tile.numpy().T).T for tile in tiles]
        return torch.from_numpy(np.ascontiguousarray(np.concatenate(means)))
