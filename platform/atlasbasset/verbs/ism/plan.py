"""The plan of `ism`: what is read, written and held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.inference.cell_labels import opened_table
from atlasbasset.inference.groups import cell_groups
from atlasbasset.verbs.ism.checked_input import IsmInput, check_ism
from atlasbasset.verbs.ism.report import IsmReport
from atlasbasset.verbs.ism.stages import MutationStages
from atlasbasset.verbs.ism.work import mutation_bytes, region_units
from atlasbasset.verbs.shared.plan import (
    PlannedModel,
    finished_line,
    is_finished,
    notice_lines,
    worker_count,
)
from atlasstore.plans import Plan
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["IsmPlan", "plan_ism"]


@dataclass(frozen=True, eq=False, repr=False)
class IsmPlan(Plan[IsmReport]):
    """Checked input of `ism`, and its sizes; made by `plan_ism`."""

    model: PlannedModel
    out: str
    given: IsmInput
    cell_table: pd.DataFrame | None
    """Made after the model; may have the column that makes the groups."""
    workers: WorkerPool

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would mutate regions into {self.out}"

    @cached_property
    def _stages(self) -> MutationStages:
        groups = cell_groups(self.model.loaded, self.given.group_by, obs=self.cell_table)
        return MutationStages(self.model.loaded, self.given, groups, self.workers)

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the result already."""
        return is_finished(self.out, lambda: self._stages.identity)

    @property
    def n_units(self) -> int:
        """Units of work: shards of the result."""
        return len(region_units(self.given.tables))

    @property
    def memory_bytes(self) -> int:
        """Of a worker in addition to the program."""
        return self.model.table_bytes + mutation_bytes(self.model.trunk, self.given.tables)

    def lines(self) -> Lines:
        """Return regions, columns, bytes, memory and workers."""
        given = self.given
        span, columns = given.span_bp, f"groups by {given.group_by}"
        return [
            ("regions", f"{count(given.n_regions)} in {count(self.n_units)} units"),
            ("mutated", f"{count(span)} bp of each, {count(3 * span)} substitutions"),
            ("columns", f"{count(given.n_groups)} {columns if given.group_by else 'cells'}"),
            *notice_lines("left out", given.notice),
            *notice_lines("strands", given.strands),
            ("tables", f"{size(given.n_bytes)} before compression"),
            ("memory", f"about {size(self.memory_bytes)} per worker plus the program"),
            ("arithmetic", self.model.arithmetic),
            ("workers", worker_count(self.workers)),
            *finished_line(is_finished=self.is_finished),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_regions": self.given.n_regions,
            "n_units": self.n_units,
            "span_bp": self.given.span_bp,
            "n_groups": self.given.n_groups,
            "group_by": self.given.group_by,
            "table_bytes": self.given.n_bytes,
            "memory_bytes": self.memory_bytes,
            "workers": self.workers.count,
        }

    def _run(self, on_event: Subscriber) -> IsmReport:
        if not self.is_finished:
            self.model.tell_arithmetic(on_event)
        work = self._stages
        was_finished = run_job(
            self.out, work.run, identity=work.identity, pool=self.workers, on_event=on_event
        )
        return IsmReport(
            result=self.out,
            n_regions=self.given.n_regions,
            span_bp=self.given.span_bp,
            group_by=self.given.group_by,
            n_groups=self.given.n_groups,
            table_bytes=self.given.n_bytes,
            was_finished=was_finished,
        )


def plan_ism(
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
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
) -> IsmPlan:
    """Plan `ism`: check its input and compute its sizes; nothing is written.

    Parameters are those of `ism`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_ism(
    ...     "model.zarr", out="ism.zarr", genome="genome.fa", regions="enhancers.bed"
    ... )  # doctest: +SKIP
    >>> print(plan)  # doctest: +SKIP
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    table = None if obs is None else opened_table(obs)
    given = check_ism(
        planned.store,
        genome=genome,
        regions=regions,
        atlas=atlas,
        peaks=peaks,
        span=span,
        group_by=group_by,
        obs=table,
    )
    for url in (planned.url, out):
        pool.worker_url(url)
    plan = IsmPlan(planned, str(out), given, table, pool)
    _ = plan.is_finished  # refuses an output that is taken
    return plan
