"""`map`: the cells of an atlas onto a trained trunk, solved exactly, without training.

Two stages of units, here or on Ray Data: the fitted peaks' embeddings into a small array beside the
checkpoint, then the cells block by block, each worker writing the rows of its own blocks. The array
is deleted when all cells are solved.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from atlasbasset.batch.run import Stage, Workers, run_units
from atlasbasset.engine.state import RunState
from atlasbasset.inference.model import Model, opened
from atlasbasset.verbs.map_cells.work import SOLVED_STEP, SolveBlocks, block_units, solved_tables
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.embed_peaks_work import EmbedPeaks, create_embedded, peak_units
from atlasbasset.verbs.shared.split import Split, split_rows
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing, staged
from atlasstore.models.model_store import Checkpoint, CheckpointWriter, ModelStore
from atlasstore.zarrio import formats

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
        Ray Data actors that share the work; 0 works in this process. More than the atlas has cell
        blocks help only with the peaks. The result is the same, bit for bit where as many CPU
        threads compute.
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
        When anything lies at `out`.
    """
    pool = Workers(workers, cpus_per_worker, gpus_per_worker)
    store = model.store if isinstance(model, Model) else ModelStore.open(model)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    rows = check_mapping(store, cells, out=out, l2=l2, split=split, workers=pool)
    loaded = opened(model, compute=compute)
    mapping = _Mapping(loaded, cells, rows, l2, split, pool)
    with pool.session(on_event), staged(out) as place:
        report = mapping.run(place, str(out), on_event)
    _tell(report, on_event)
    return report


def check_mapping(
    model: ModelStore, atlas: Atlas, *, out: str | Path, l2: float, split: str, workers: Workers
) -> NDArray[np.int64]:
    """Return the rows of the peaks to fit, or raise what `map_cells` raises of its options."""
    refuse_existing(out)
    if not l2 > 0:
        raise UserInputError(f"l2 must be above 0, got {l2}; without it a solution may not exist.")
    if model.batches:
        raise UserInputError(
            f"{model.url} is batch-corrected ({len(model.batches)} batches), and new cells can be "
            "mapped onto models without batch correction only; train one without --batch-key."
        )
    for url in (model.url, atlas.url, out):
        workers.reachable(url)
    check_window(model, atlas)
    return split_rows(atlas, split)


@dataclass(frozen=True, eq=False, slots=True)
class _Mapping:
    """A mapping whose input has been checked."""

    model: Model
    atlas: Atlas
    rows: NDArray[np.int64]
    l2: float
    split: str
    workers: Workers

    def run(self, place: str, out: str, on_event: Subscriber) -> MapReport:
        """Write the new model at `place` and publish its checkpoint; it will lie at `out`."""
        store = self._new_store(place)
        peaks_url = urls.join(place, "peaks")
        began = time.monotonic()
        self._embed(peaks_url, on_event)
        embedded = time.monotonic()
        writer = store.write_checkpoint(SOLVED_STEP)
        writer.begin(solved_tables(self._width))
        objective = self._solve(place, peaks_url, on_event)
        urls.delete(peaks_url)
        seconds = (embedded - began, time.monotonic() - embedded)
        report = self._report(writer.url, out, objective, seconds)
        self._commit(writer, report)
        return report

    @property
    def _width(self) -> int:
        return self.model.trunk.config.embedding_dim

    @property
    def _atlas_for_workers(self) -> Atlas | str:
        return self.workers.reachable(self.atlas.url) if self.workers.count else self.atlas

    def _new_store(self, place: str) -> ModelStore:
        settings = {
            "model": self.model.url,
            "atlas": self.atlas.url,
            "l2": self.l2,
            "split": self.split,
        }
        made = formats.provenance([], settings, None)
        inputs = {"model": dict(self.model.store.provenance), "atlas": dict(self.atlas.provenance)}
        return ModelStore.create(
            place,
            obs=self.atlas.obs,
            # "atlas" names what training may go on with: nothing, as no optimiser's state is here
            config={**self.model.config, "atlas": None, "mapped": settings},
            block_cells=self.atlas.blocks[0].n_cells,
            provenance={**made, **inputs},
        )

    def _embed(self, peaks_url: str, on_event: Subscriber) -> None:
        create_embedded(peaks_url, len(self.rows), self._width)
        bf16 = self.model.compute_dtype == torch.bfloat16
        work = EmbedPeaks(
            model=self.workers.reachable(self.model.url) if self.workers.count else self.model,
            atlas=self._atlas_for_workers,
            rows=self.rows,
            url=self.workers.reachable(peaks_url),
            compute="bf16" if bf16 else "fp32",
            device=self.workers.device,
        )
        stage = Stage("embedding sequences", "peaks")
        units = peak_units(len(self.rows))
        run_units(units, work, workers=self.workers, stage=stage, on_event=on_event)

    def _solve(self, place: str, peaks_url: str, on_event: Subscriber) -> float:
        """Solve every block; return the sum of all cells' objectives."""
        work = SolveBlocks(
            atlas=self._atlas_for_workers,
            rows=self.rows,
            peaks_url=self.workers.reachable(peaks_url),
            model_url=self.workers.reachable(place),
            l2=self.l2,
            device=self.workers.device or self.model.trunk.bottleneck.weight.device,
        )
        stage = Stage("solving cells", "cells")
        units = block_units(self.atlas.blocks)
        found = run_units(units, work, workers=self.workers, stage=stage, on_event=on_event)
        return math.fsum(row["objective"] for row in found)

    def _report(
        self, checkpoint: str, out: str, objective: float, seconds: tuple[float, float]
    ) -> MapReport:
        """Read what the blocks wrote of their cells."""
        n_cells = self.atlas.n_cells
        stored = Checkpoint(checkpoint, {}, {})
        return MapReport(
            model=out,
            n_peaks=len(self.rows),
            l2=self.l2,
            loss=objective / n_cells / len(self.rows),
            seconds_embedding=seconds[0],
            seconds_solving=seconds[1],
            iterations=stored.rows("solve/iterations", 0, n_cells).astype(np.int32),
            gradient_norm=stored.rows("solve/gradient_norm", 0, n_cells),
            converged=stored.rows("solve/converged", 0, n_cells).astype(bool),
            one_class=stored.rows("solve/one_class", 0, n_cells).astype(bool),
        )

    def _commit(self, writer: CheckpointWriter, report: MapReport) -> None:
        trunk = {name: t.cpu().numpy() for name, t in self.model.trunk.state_dict().items()}
        writer.write_tensors("trunk", trunk)
        solved = {name: value for name, value in report.as_json().items() if name != "model"}
        writer.commit({**RunState().as_json(), "mapped": solved})


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
