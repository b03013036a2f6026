"""`ism`: in-silico saturation mutagenesis of regions (docs/method.md, "ISM").

Every base at every position of a region is tried, and what it does to the region's embedding kept:
accessibility is linear in it, so this compact form gives the scores of any cell, and those of
groups of cells are written out besides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import JobIdentity, run_job
from atlasbasset.batch.model_source import ModelSource, digest_of, model_identity
from atlasbasset.inference.groups import CellGroups, cell_groups
from atlasbasset.inference.model import Model, as_model
from atlasbasset.verbs.ism.plan import IsmPlan, check_ism
from atlasbasset.verbs.ism.work import MutateRegions, region_units, write_windows
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.results.writer import create_result
from atlasstore.resume.units import Stage
from atlasstore.zarrio.names import EMBEDDING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.core.compute import Compute
    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["IsmReport", "ism"]


@dataclass(frozen=True, slots=True)
class IsmReport:
    """What was made."""

    result: str
    """URL of the result."""
    n_regions: int
    span_bp: int
    """Mutated positions of each region."""
    group_by: str | None
    n_groups: int
    """Groups of cells, or cells where they were not grouped."""
    table_bytes: int
    """Size of the tables before compression."""
    was_finished: bool
    """Whether the same job had made it before, and nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def ism(
    model: str | Path | Model,
    *,
    out: str | Path,
    genome: str | Path | None = None,
    regions: str | Path | None = None,
    atlas: str | Path | Atlas | None = None,
    peaks: Sequence[str] | None = None,
    span: int | None = None,
    group_by: str | None = None,
    obs: Obs | None = None,
    compute: Compute = "fp32",
    workers: int = 0,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
    on_event: Subscriber = ignore,
) -> IsmReport:
    """Mutate regions in silico, exactly, at the cost of about a tenth of full passes.

    For each position of a region's window, or of its centre, each of the three other bases is put
    there; the score of a base is the change of accessibility (linear scale), less the mean over
    the four bases, so that they sum to zero. A position's importance is the score of its own base.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    out
        URL of the result: an AnnData zarr of regions x groups of cells (or x cells), which
        `atlasstore.results.ism_result.IsmResult` reads. What a killed run has done is kept beside
        it, and the same call goes on from there.
    genome, regions
        Path of the FASTA, and path or URL of a BED file of regions on it (0-based half-open).
        Where its sixth column has strands, a region on - is read as its reverse complement, and
        its bases and scores are in that orientation.
    atlas, peaks
        Instead: an atlas or its URL, and names of its peaks, whose sequences it holds.
    span
        Central bp of each window that are mutated; the whole window by default.
    group_by
        Column of the model's obs; scores are written for each of its values, as means over the
        cells; cells without one are left out. By default the result has a column per cell and
        holds the compact form alone.
    obs
        Table of cells that has the column `group_by`, made after the model: a CSV, TSV or AnnData
        at a path or URL, or a pandas table; matched by the cells' names.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own.
    workers
        Ray Data actors that share the regions; 0 works in this process.
    cpus_per_worker, gpus_per_worker
        What each worker reserves.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When options do not fit one another or the model, or the workers cannot be had or cannot
        reach what they need; a `PeaksError` or `GenomeError` when
        regions do not fit the genome or atlas.
    StoreExistsError
        When anything but this job's own work lies at `out`.
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    store = model.store if isinstance(model, Model) else ModelStore.open(model)
    plan = check_ism(
        store,
        genome=genome,
        regions=regions,
        atlas=atlas,
        peaks=peaks,
        span=span,
        group_by=group_by,
        obs=obs,
    )
    for url in (store.url, out):
        pool.worker_url(url)
    loaded = as_model(model, compute=compute)
    groups = cell_groups(loaded, group_by, obs=obs)
    mutation = _Mutation(loaded, plan, groups, pool)
    was_finished = run_job(
        out, mutation.run, identity=mutation.identity, pool=pool, on_event=on_event
    )
    return IsmReport(
        result=str(out),
        n_regions=plan.n_regions,
        span_bp=plan.span_bp,
        group_by=group_by,
        n_groups=len(groups),
        table_bytes=plan.n_bytes,
        was_finished=was_finished,
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Mutation:
    """A mutagenesis whose input has been checked."""

    model: Model
    plan: IsmPlan
    groups: CellGroups
    workers: WorkerPool

    @property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        config = {
            **self.plan.config(),
            "model": model_identity(self.model),
            "groups": digest_of(self.groups.names, self.groups.embedding),
        }
        return JobIdentity("ism", config, self.plan.inputs)

    def run(self, job: ResumableJob) -> None:
        """Mutate every region and publish."""
        self._tell(job.on_event)
        windows = urls.join(job.scratch, "windows")
        job.once("windows", lambda: write_windows(windows, self.plan.regions))
        job.once("create", lambda: self._create(job.place))
        work = MutateRegions(
            model=ModelSource.of(self.model, self.workers),
            windows=windows,
            place=job.place,
            tables=self.plan.tables,
            span=self.plan.span,
            groups=self.groups.embedding if self.groups.is_grouped else None,
        )
        stage = Stage("mutating regions", "regions")
        job.run("regions", region_units(self.plan.tables), work, stage=stage)
        self._publish(job)

    def _create(self, place: str) -> None:
        about: dict[str, Any] = {"scale": "linear", "span_bp": self.plan.span_bp}
        if self.plan.group_by is not None:
            about["group_by"] = self.plan.group_by
        create_result(
            place,
            kind="ism",
            obs=self.plan.obs(),
            var=self.groups.table(),
            obsm={},
            varm={EMBEDDING: self.groups.embedding},
            tables=list(self.plan.tables.values()),
            about=about,
        )

    def _publish(self, job: ResumableJob) -> None:
        config = {
            "model": self.model.url,
            "regions": self.plan.inputs,
            "span": self.plan.span_bp,
            "group_by": self.plan.group_by,
            "compute": "bf16" if self.model.compute_dtype == torch.bfloat16 else "fp32",
        }
        job.publish(config, {"model": self.model.store})

    def _tell(self, on_event: Subscriber) -> None:
        for told in (self.plan.strands, self.groups.told):
            if told:
                on_event(Notice(told))
        table, span = self.plan.regions.table, self.plan.span_bp
        longer = int((table["end"] - table["start"] > span).sum())
        if longer:
            on_event(
                Notice(
                    f"{longer:,} of {len(table):,} regions are longer than the {span:,} bp that "
                    "are mutated: their ends are left as they are."
                )
            )
