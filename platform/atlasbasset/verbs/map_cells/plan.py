"""The plan of `map`: which cells and peaks, and what solving holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.engine.state import final_solve_of
from atlasbasset.inference.cell_labels import cell_labels
from atlasbasset.verbs.map_cells.batches import new_batches
from atlasbasset.verbs.map_cells.labels import write_labels
from atlasbasset.verbs.map_cells.peaks import free_peaks
from atlasbasset.verbs.map_cells.report import MapReport
from atlasbasset.verbs.map_cells.stages import MapStages
from atlasbasset.verbs.map_cells.work import solving_bytes
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.fingerprint import atlas_fingerprint
from atlasbasset.verbs.shared.plan import (
    PlannedModel,
    finished_line,
    is_finished,
    notice_lines,
    workers_in_full,
)
from atlasbasset.verbs.shared.split import split_rows
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.models.model_store import ModelStore
from atlasstore.plans import Plan
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import CellLabels, Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.map_cells.batches import NewBatches
    from atlasbasset.verbs.map_cells.peaks import FreePeaks, PeakChoice
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["MapPlan", "plan_map_cells"]


@dataclass(frozen=True, eq=False, repr=False)
class MapPlan(Plan[MapReport]):
    """Checked input of `map_cells`, and its sizes; made by `plan_map_cells`."""

    model: PlannedModel
    atlas: Atlas
    out: str
    l2: float
    split: Split
    rows: NDArray[np.int64]
    """Peaks that are fitted."""
    workers: WorkerPool
    deviates: bool = False
    """Whether the peaks are those that the model's peaks deviate for."""
    notice: str | None = None
    """A sentence on deviations that do not fit, if any."""
    label: CellLabels | None = None
    """Of the model's cells, where the new ones are to have labels."""
    batches: NewBatches | None = None
    """Of the new cells, where batches are told apart."""
    standard_errors: bool = False
    free: FreePeaks | None = None
    """Fitted peaks that are solved, too."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would map {self.atlas.url} onto {self.model.url}"

    def _stages(self, on_event: Subscriber = ignore) -> MapStages:
        return MapStages(
            self.model.loaded,
            self.atlas,
            self.rows,
            self.l2,
            self.split,
            self.workers,
            self.deviates,
            self.batches,
            self.standard_errors,
            self.free,
            on_event,
        )

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the model already."""
        return is_finished(self.out, lambda: self._stages().identity)

    @property
    def memory_bytes(self) -> int:
        """Of a worker while it solves cells."""
        width = self.model.trunk.embedding_dim
        cells = solving_bytes(self.atlas, len(self.rows), width)
        return cells if self.free is None else max(cells, self.free.memory_bytes(self.atlas, width))

    def lines(self) -> Lines:
        """Return cells, peaks, workers and memory."""
        n_blocks, each = len(self.atlas.blocks), "per worker " if self.workers.count else ""
        return [
            ("cells", f"{count(self.atlas.n_cells)} in {count(n_blocks)} blocks"),
            ("peaks", f"{count(len(self.rows))} of the {self.split} split"),
            ("L2 weight", f"{self.l2:g}"),
            *notice_lines("peak deviations", self.notice or ("used" if self.deviates else None)),
            *self._free_lines(),
            *self._batch_lines(),
            *self._label_lines(),
            ("arithmetic", self.model.arithmetic),
            ("workers", workers_in_full(self.workers)),
            ("memory", f"about {size(self.memory_bytes)} {each}while solving"),
            *finished_line(is_finished=self.is_finished),
        ]

    def _free_lines(self) -> Lines:
        if (free := self.free) is None:
            return []
        how = f"{count(free.count)} fitted peaks, held with weight {free.weight:.3g}"
        return [("solved, too", how)]

    def _batch_lines(self) -> Lines:
        if (batches := self.batches) is None:
            return []
        n_new = len(batches.new)
        n_known = len(batches.names) - n_new
        what = f"{count(n_known)} of the model, {count(n_new)} new"
        return [("batches", f"{count(len(batches.names))} of {batches.key!r}: {what}")]

    def _label_lines(self) -> Lines:
        if (label := self.label) is None:
            return []
        n_voting = count(self.model.n_cells - label.n_unlabelled)
        return [("labels", f"{count(len(label.names))} of {label.key!r}, {n_voting} cells vote")]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_cells": self.atlas.n_cells,
            "n_blocks": len(self.atlas.blocks),
            "n_peaks": len(self.rows),
            "n_peaks_solved": 0 if self.free is None else self.free.count,
            "l2": self.l2,
            "workers": self.workers.count,
            "memory_bytes": self.memory_bytes,
        }

    def _run(self, on_event: Subscriber) -> MapReport:
        for sentence in (self.notice, None if self.label is None else self.label.notice()):
            if sentence:
                on_event(Notice(sentence))
        if not self.is_finished:
            self.model.tell_arithmetic(on_event)
        work = self._stages(on_event)
        was_finished = run_job(
            self.out, work.run, identity=work.identity, pool=self.workers, on_event=on_event
        )
        report = _report(self.out, was_finished=was_finished)
        _tell(report, on_event)
        if self.label is None:
            return report
        reference = self.model.loaded.cell_embedding
        return replace(
            report, labels=write_labels(self.out, self.label, reference, on_event=on_event)
        )


def plan_map_cells(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    l2: float | None = None,
    split: Split = "train",
    label_key: str | None = None,
    obs: Obs | None = None,
    batch_key: str | None = None,
    standard_errors: bool = False,
    solve_peaks: PeakChoice = "auto",
    compute: Compute = "auto",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> MapPlan:
    """Plan `map_cells`: check its input and compute its sizes; nothing is written.

    Parameters are those of `map_cells`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_map_cells("model.zarr", "new_atlas.zarr", out="mapped.zarr")  # doctest: +SKIP
    >>> plan.run().as_json()["n_converged"]  # doctest: +SKIP
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    l2 = planned.cells_l2 if l2 is None else l2
    rows = _check(planned.store, cells, out=out, l2=l2, split=split, workers=pool)
    deviates, notice = planned.deviates_on(cells)
    label = _label(planned.store, label_key, obs)
    batches = new_batches(planned.store, cells, batch_key)
    free = free_peaks(
        cells,
        rows,
        planned.deviations if deviates else None,
        choice=solve_peaks,
        deviates=_lets_peaks_deviate(planned, cells),
        with_batches=batches is not None,
        cells_l2=l2,
        trained=planned.store.config.get("train") or {},
    )
    plan = MapPlan(
        planned,
        cells,
        str(out),
        l2,
        split,
        rows,
        pool,
        deviates,
        notice if free is None else None,  # they do count, solved here
        label,
        batches,
        standard_errors,
        free,
    )
    _ = plan.is_finished  # refuses an output that is taken
    return plan


def _check(
    model: ModelStore, atlas: Atlas, *, out: str | Path, l2: float, split: str, workers: WorkerPool
) -> NDArray[np.int64]:
    """Return the rows of the peaks to fit, or raise what `map_cells` raises of its options."""
    if not l2 > 0:
        raise UserInputError(f"l2 must be above 0, got {l2}; without it a solution may not exist.")
    for url in (model.url, atlas.url, out):
        workers.worker_url(url)
    check_window(model, atlas)
    return split_rows(atlas, split)


def _lets_peaks_deviate(model: PlannedModel, atlas: Atlas) -> bool:
    """Whether the model's peaks deviate, or might on peaks other than those it was trained on."""
    if model.deviations is not None:
        return True
    tried = (final_solve_of(model.store.newest().state) or {}).get("peak_deviations")
    return tried is not None and model.store.config.get("atlas") != atlas_fingerprint(atlas)


def _label(model: ModelStore, key: str | None, obs: Obs | None) -> CellLabels | None:
    if key is not None:
        return cell_labels(model.obs, key, obs=obs, what=model.url)
    if obs is not None:
        raise UserInputError(
            "a table of the model's cells (obs) is there for its labels; name the column "
            "(label_key)."
        )
    return None


def _report(out: str, *, was_finished: bool) -> MapReport:
    """Read what was solved from the published model."""
    store = ModelStore.open(out)
    stored = store.newest()
    mapped = stored.state["mapped"]
    return MapReport(
        model=out,
        n_peaks=int(mapped["n_peaks"]),
        n_peaks_solved=int(mapped.get("n_peaks_solved", 0)),
        l2=float(mapped["l2"]),
        loss=float(mapped["loss"]),
        seconds_embedding=float(mapped["seconds_embedding"]),
        seconds_solving=float(mapped["seconds_solving"]),
        iterations=stored.rows("solve/iterations", 0, store.n_cells).astype(np.int32),
        gradient_norm=stored.rows("solve/gradient_norm", 0, store.n_cells),
        converged=stored.rows("solve/converged", 0, store.n_cells).astype(bool),
        one_class=stored.rows("solve/one_class", 0, store.n_cells).astype(bool),
        was_finished=was_finished,
    )


def _tell(report: MapReport, on_event: Subscriber) -> None:
    if n := int(report.one_class.sum()):
        on_event(Notice(f"{n:,} cells have none or all of the fitted peaks open: no embedding."))
    if n := int((~report.converged).sum()):
        on_event(
            Notice(
                f"{n:,} cells did not converge in {report.iterations.max()} Newton steps (gradient "
                f"per open peak above 1e-5); a larger l2 helps, now {report.l2:g}."
            )
        )
