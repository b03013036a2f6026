"""The plan of `differential`: which cells are compared, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.file_job import is_file_finished, refuse_file, run_file_job
from atlasbasset.inference.cell_labels import cell_labels
from atlasbasset.inference.groups import group_labels
from atlasbasset.verbs.differential.design import (
    REST,
    contrasts_of,
    covariate_values,
    design_of,
    make_bins,
)
from atlasbasset.verbs.differential.report import DifferentialReport
from atlasbasset.verbs.differential.stages import MotifStages, PeakStages
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.plan import (
    FLOAT_BYTES,
    PlannedModel,
    finished_line,
    notice_lines,
    workers_in_full,
)
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.table_file import SUFFIXES
from atlasstore.plans import Plan
from atlasstore.results.result import Result
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import CellLabels, Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.differential.design import Contrast
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["DifferentialPlan", "plan_differential"]

_MAX_VALUES = 100
"""Different values of a covariate; more are taken for a number."""
_LEAST_COPIES = 3
_COUNT_BYTES = 4
_TEST_BYTES = 40


@dataclass(frozen=True, eq=False, repr=False)
class DifferentialPlan(Plan[DifferentialReport]):
    """Checked input of `differential`; made by `plan_differential`."""

    model: PlannedModel
    atlas: Atlas
    activity: Result | None
    """TF activity, where motifs are tested and not peaks."""
    shuffled: Result | None
    """Activity of shuffled copies of the motifs, which they are held to."""
    labels: CellLabels
    covariates: tuple[CellLabels, ...]
    contrasts: tuple[Contrast, ...]
    min_cells: int
    out: str
    workers: WorkerPool

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would compare {self.unit} between groups of {self.labels.key!r} into {self.out}"

    @property
    def unit(self) -> str:
        """What a row is of."""
        return "peaks" if self.activity is None else "motifs"

    @property
    def n_tests(self) -> int:
        """Tests of a contrast at most."""
        return self.atlas.n_peaks if self.activity is None else self.activity.n_vars

    @property
    def scratch_bytes(self) -> int:
        """What embeddings, counts of open cells and tests take beside the table, at most."""
        if self.activity is not None:
            return 0
        n_bins = len(make_bins(self.labels, self.covariates, self._no_depth, self.contrasts))
        embedded = FLOAT_BYTES * self.model.trunk.embedding_dim
        tests = _TEST_BYTES * len(self.contrasts)
        return self.atlas.n_peaks * (_COUNT_BYTES * n_bins + embedded + tests)

    @property
    def _no_depth(self) -> NDArray[np.float64]:
        return np.zeros(self.atlas.n_cells)

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(one.key for one in self.covariates)

    def lines(self) -> Lines:
        """Return groups, covariates and sizes."""
        compared = [f"{one.group} against {one.reference}" for one in self.contrasts]
        shown = ", ".join(compared[:8]) + (", ..." if len(compared) > 8 else "")
        return [
            ("groups", f"{count(len(compared))}: {shown}"),
            ("covariates", ", ".join(("depth", *self._names))),
            (self.unit, count(self.n_tests)),
            ("rows", count(self.n_tests * len(compared))),
            *([] if self.activity else [("scratch", size(self.scratch_bytes))]),
            ("arithmetic", self.model.arithmetic),
            ("workers", workers_in_full(self.workers)),
            *notice_lines("left out", self.labels.notice()),
            *finished_line(is_finished=self.is_finished),
        ]

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the table already."""
        return is_file_finished(self.out, lambda: self._stages.identity)

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "groups": [one.group for one in self.contrasts],
            "references": [one.reference for one in self.contrasts],
            "covariates": list(self._names),
            f"n_{self.unit}": self.n_tests,
            "scratch_bytes": self.scratch_bytes,
            "workers": self.workers.count,
        }

    def _run(self, on_event: Subscriber) -> DifferentialReport:
        for one in (self.labels, *self.covariates):
            if sentence := one.notice():
                on_event(Notice(sentence))
        if not self.is_finished:
            self.model.tell_arithmetic(on_event)
        return run_file_job(
            self.out,
            self._stages,
            pool=self.workers,
            read_report=DifferentialReport.from_json,
            on_event=on_event,
        )

    @cached_property
    def _stages(self) -> PeakStages | MotifStages:
        given: dict[str, Any] = {
            "model": self.model.loaded,
            "atlas": self.atlas,
            "labels": self.labels,
            "covariates": self.covariates,
            "contrasts": self.contrasts,
            "out": self.out,
            "workers": self.workers,
        }
        if self.activity is None:
            return PeakStages(**given, min_cells=self.min_cells)
        return MotifStages(**given, activity=self.activity, shuffled=self.shuffled)


def plan_differential(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    group_by: str,
    out: str | Path,
    groups: Sequence[str] | None = None,
    reference: str = REST,
    covariates: Sequence[str] = (),
    motifs: str | Path | Result | None = None,
    shuffled: str | Path | Result | None = None,
    obs: Obs | None = None,
    min_cells: int = 10,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> DifferentialPlan:
    """Plan `differential`: check its input; nothing is written.

    Parameters are those of `differential`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_differential("model.zarr", "atlas.zarr", group_by="cell_type",
    ...                         out="peaks.tsv"))  # doctest: +SKIP
    """
    refuse_file(out)
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    if not urls.path_end(out).endswith(SUFFIXES):
        raise UserInputError(f"{out} ends in none of {', '.join(SUFFIXES)}; name the table so.")
    if min_cells < 1:
        raise UserInputError(f"min_cells must be 1 or more, got {min_cells}.")
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    check_same_cells(planned.store, cells)
    check_window(planned.store, cells)
    table = planned.store.obs
    labels = group_labels(table, group_by, obs=obs, what=planned.url)
    if labels is None:
        raise UserInputError("name the column whose groups are compared (group_by).")
    others = tuple(_covariate(table, key, group_by, obs, planned.url) for key in covariates)
    contrasts = tuple(contrasts_of(labels, groups, reference))
    activity = None if motifs is None else _activity(motifs, planned)
    copies = None if shuffled is None else _copies(shuffled, activity, planned)
    for url in (planned.url, out):
        pool.worker_url(url)
    plan = DifferentialPlan(
        planned, cells, activity, copies, labels, others, contrasts, min_cells, str(out), pool
    )
    values = covariate_values(others, cells.n_cells)
    for one in contrasts:  # refuses covariates that tell groups apart
        design_of(one, labels.codes, values, plan._no_depth, plan._names)
    return plan


def _covariate(
    table: pd.DataFrame, key: str, group_by: str, obs: Obs | None, what: str
) -> CellLabels:
    if key == group_by:
        raise UserInputError(f"{key!r} is what is compared, not a covariate; leave it out.")
    found = cell_labels(table, key, obs=obs, what=what)
    if len(found.names) > _MAX_VALUES:
        raise UserInputError(
            f"covariate {key!r} has {len(found.names):,} different values (at most {_MAX_VALUES}); "
            "give a column of categories, such as donors. Depth is accounted for already."
        )
    return found


def _activity(motifs: str | Path | Result, model: PlannedModel) -> Result:
    found = motifs if isinstance(motifs, Result) else Result.open(motifs)
    if found.kind != "tf_activity":
        raise UserInputError(
            f"{found.url} is {found.kind}, not TF activity; give what motifs made."
        )
    if not np.array_equal(np.asarray(found.obs.index), np.asarray(model.store.obs.index)):
        raise UserInputError(
            f"{found.url} is of other cells than {model.url}; make it again from this model."
        )
    return found


def _copies(shuffled: str | Path | Result, motifs: Result | None, model: PlannedModel) -> Result:
    if motifs is None:
        raise UserInputError("shuffled motifs are what motifs are held to; give the motifs, too.")
    found = _activity(shuffled, model)
    n_copies = pd.Series(
        [str(name).rpartition("~")[0] for name in found.var["motif"]]
    ).value_counts()
    n_of = n_copies.reindex(motifs.var["motif"].astype(str), fill_value=0)
    if n_of.min() < _LEAST_COPIES:
        raise UserInputError(
            f"{found.url} has {n_of.min()} shuffled copies of motif {n_of.idxmin()} (at least "
            f"{_LEAST_COPIES}); make it from the same motifs with --shuffled 10."
        )
    return found
