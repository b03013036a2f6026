"""The stages of `ism`: the windows stored, every base tried, the result published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of, model_identity
from atlasbasset.verbs.ism.work import MutateRegions, region_units, write_windows
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.results.writer import create_result
from atlasstore.resume.units import Stage
from atlasstore.zarrio.names import EMBEDDING

if TYPE_CHECKING:
    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.inference.groups import CellGroups
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.ism.checked_input import IsmInput
    from atlasstore.events import Subscriber

__all__ = ["MutationStages"]


@dataclass(frozen=True, eq=False, slots=True)
class MutationStages:
    """A mutagenesis whose input has been checked."""

    model: Model
    plan: IsmInput
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
        job.create(lambda: self._create(job.place))
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
        for notice in (self.plan.strands, self.groups.notice):
            if notice:
                on_event(Notice(notice))
        table, span = self.plan.regions.table, self.plan.span_bp
        longer = int((table["end"] - table["start"] > span).sum())
        if longer:
            on_event(
                Notice(
                    f"{longer:,} of {len(table):,} regions are longer than the {span:,} bp that "
                    "are mutated: their ends are left as they are."
                )
            )
