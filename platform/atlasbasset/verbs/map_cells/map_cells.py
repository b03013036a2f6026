"""`map`: the cells of an atlas onto a trained trunk, solved exactly, without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.inference.model import Model, as_model
from atlasbasset.verbs.map_cells.stages import MapStages
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.split import Split, split_rows
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.core.compute import Compute
    from atlasstore.events import Subscriber

__all__ = ["MapReport", "check_mapping", "map_cells"]


@dataclass(frozen=True, eq=False, slots=True)
class MapReport:
    """What was solved, and how well."""

    model: str
    """URL of the new model."""
    n_peaks: int
    """Peaks that were fitted."""
    l2: float
    """Weight of half the sum of squares of a cell's embedding."""
    loss: float
    """Mean cross-entropy and penalty, nats per fitted peak and cell."""
    seconds_embedding: float
    """Spent on the peaks' embeddings."""
    seconds_solving: float
    """Spent on reading labels and solving."""
    iterations: NDArray[np.int32]
    """Newton steps of each cell, (N,)."""
    gradient_norm: NDArray[np.float32]
    """Norm of each cell's gradient at the end, (N,)."""
    converged: NDArray[np.bool_]
    """Whether each cell converged, (N,): gradient at most 1e-5 per open peak."""
    one_class: NDArray[np.bool_]
    """Cells with none or all of the fitted peaks open, (N,)."""
    was_finished: bool
    """Whether the very same job had made the model before, so that nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: counts and means, no arrays."""
        return {
            "model": self.model,
            "n_cells": len(self.iterations),
            "n_converged": int(self.converged.sum()),
            "n_one_class": int(self.one_class.sum()),
            "n_peaks": self.n_peaks,
            "l2": self.l2,
            "loss": self.loss,
            "mean_iterations": float(self.iterations.mean()),
            "max_iterations": int(self.iterations.max()),
            "seconds_embedding": self.seconds_embedding,
            "seconds_solving": self.seconds_solving,
            "was_finished": self.was_finished,
        }


def map_cells(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    l2: float = 10.0,
    split: Split = "train",
    compute: Compute = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber = ignore,
) -> MapReport:
    """Make a model of an atlas's cells with the trunk of another: no training, no random numbers.

    With the trunk frozen, each cell is an L2-regularised logistic regression of its labels on the
    peaks' embeddings; it is solved exactly (`atlasbasset.core.newton`). The cells and peaks may be
    those the model was trained on, or all new.

    Parameters
    ----------
    model
        A model, or the URL of its store; its own cells play no part.
    atlas
        The atlas with the new model's cells, or its URL.
    out
        URL of the new model store.
    l2
        Weight of ``|w|^2 / 2`` beside the cross-entropy *summed* over peaks: a Gaussian prior of
        variance 1 / l2 on each number of an embedding, so it need not grow with the peaks. 1 to
        100 differ little; 10 was the best compromise of auROC and label score on sorted-tissue
        cells (docs/map.md; docs/method.md, "The cell layer is convex").
    split
        Peaks to fit: "train" by default, so that an evaluation on the others stays honest.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own. "auto" is
        decided in this process, for all workers.
    workers
        Ray Data actors that share the work; 0 works in this process. The result is the same, bit
        for bit where as many CPU threads compute.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker computes on its GPU if it has one, else with as many
        threads as CPUs.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When the model is batch-corrected, its window is not the atlas's, `l2` is not above 0, the
        split has no peaks, or workers could not be had or could not reach what they need.
    StoreExistsError
        When anything but this very job's model is stored at `out`.
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    store = model.store if isinstance(model, Model) else ModelStore.open(model)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    rows = check_mapping(store, cells, out=out, l2=l2, split=split, workers=pool)
    loaded = as_model(model, compute=compute)
    stages = MapStages(loaded, cells, rows, l2, split, pool)
    was_finished = run_job(out, stages.run, identity=stages.identity, pool=pool, on_event=on_event)
    report = _report(str(out), was_finished=was_finished)
    _tell(report, on_event)
    return report


def _report(out: str, *, was_finished: bool) -> MapReport:
    """Read what was solved from the published model."""
    store = ModelStore.open(out)
    stored = store.newest()
    mapped = stored.state["mapped"]
    return MapReport(
        model=out,
        n_peaks=int(mapped["n_peaks"]),
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


def check_mapping(
    model: ModelStore, atlas: Atlas, *, out: str | Path, l2: float, split: str, workers: WorkerPool
) -> NDArray[np.int64]:
    """Return the rows of the peaks to fit, or raise what `map_cells` raises of its options."""
    if not l2 > 0:
        raise UserInputError(f"l2 must be above 0, got {l2}; without it a solution may not exist.")
    if model.batches:
        raise UserInputError(
            f"{model.url} is batch-corrected ({len(model.batches)} batches), and new cells can be "
            "mapped onto models without batch correction only; train one without --batch-key."
        )
    for url in (model.url, atlas.url, out):
        workers.worker_url(url)
    check_window(model, atlas)
    return split_rows(atlas, split)


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
