"""`map`: the cells of an atlas onto a trained trunk, solved exactly, without training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.newton import SolvedCells, solve_cells
from atlasbasset.engine.state import RunState
from atlasbasset.model import Model, opened
from atlasbasset.verbs.atlas_peaks import check_window, embed_peaks, split_rows
from atlasstore import formats
from atlasstore.atlas import Atlas
from atlasstore.blocks import runs
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, Progress, ignore
from atlasstore.model_store import CheckpointWriter, ModelStore
from atlasstore.staging import refuse_existing, staged

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.engine.config import Compute
    from atlasstore.blocks import CellBlock
    from atlasstore.events import Subscriber

__all__ = ["MapReport", "map_cells"]

Split = Literal["train", "valid", "test", "all"]

_READ_PEAKS = 4096


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
        cells (method, "A lever nobody uses: the cell layer is convex").
    split
        Peaks to fit: "train" by default, so that an evaluation on the others stays honest.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When the model is batch-corrected, its window is not the atlas's, `l2` is not above 0, or
        the split has no peaks.
    StoreExistsError
        When anything lies at `out`.
    """
    refuse_existing(out)
    if not l2 > 0:
        raise UserInputError(f"l2 must be above 0, got {l2}; without it a solution may not exist.")
    loaded = opened(model, compute=compute)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    _check_plain(loaded)
    check_window(loaded, cells)
    rows = split_rows(cells, split)
    began = time.monotonic()
    h = embed_peaks(loaded, cells, rows, on_event=on_event)
    embedded = time.monotonic()
    with staged(out) as place:
        store = _new_store(place, loaded, cells, l2=l2, split=split)
        solver = _Solver(store, loaded, cells, h, rows, l2)
        parts = solver.run(on_event)
        solved = SolvedCells(*(torch.cat(part) for part in zip(*parts, strict=True)))
        seconds = (embedded - began, time.monotonic() - embedded)
        report = _report(str(out), solved, len(rows), l2, seconds)
        solver.commit(report)
    _tell(report, on_event)
    return report


def _check_plain(model: Model) -> None:
    if model.batches:
        raise UserInputError(
            f"{model.url} is batch-corrected ({len(model.batches)} batches), and new cells can be "
            "mapped onto models without batch correction only; train one without --batch-key."
        )


def _new_store(place: str, model: Model, atlas: Atlas, *, l2: float, split: str) -> ModelStore:
    settings = {"model": model.url, "atlas": atlas.url, "l2": l2, "split": split}
    made = formats.provenance([], settings, None)
    return ModelStore.create(
        place,
        obs=atlas.obs,
        # "atlas" names what training may go on with: nothing, since no optimiser's state is here
        config={**model.config, "atlas": None, "mapped": settings},
        block_cells=atlas.blocks[0].n_cells,
        provenance={
            **made,
            "model": dict(model.store.provenance),
            "atlas": dict(atlas.provenance),
        },
    )


class _Solver:
    """Solves a store's cells block by block and writes each block when it is solved."""

    def __init__(
        self,
        store: ModelStore,
        model: Model,
        atlas: Atlas,
        h: NDArray[np.float32],
        rows: NDArray[np.int64],
        l2: float,
    ) -> None:
        self._atlas, self._model, self._l2 = atlas, model, l2
        self._h = torch.from_numpy(h).to(model.trunk.bottleneck.weight.device)
        self._features = _open_features(h, rows, atlas.n_peaks)
        self._writer: CheckpointWriter = store.write_checkpoint(0)
        self._writer.begin({**dict.fromkeys(_TABLES, ()), "cells/embedding": (h.shape[1],)})

    def run(self, on_event: Subscriber) -> list[SolvedCells]:
        """Solve every block; return what is said of its cells, without their embeddings."""
        parts = []
        for block in self._atlas.blocks:
            sums = torch.from_numpy(_open_sums(self._atlas, block, self._features))
            solved = SolvedCells(*(t.cpu() for t in solve_cells(self._h, sums, l2=self._l2)))
            self._write(block, solved)
            parts.append(solved._replace(embedding=solved.embedding[:, :0]))
            on_event(Progress("solving cells", block.stop, self._atlas.n_cells, "cells"))
        return parts

    def _write(self, block: CellBlock, solved: SolvedCells) -> None:
        for name, field in _TABLES.items():
            self._writer.write_rows(name, block.start, getattr(solved, field).numpy())

    def commit(self, report: MapReport) -> None:
        """Publish the model."""
        trunk = {name: t.cpu().numpy() for name, t in self._model.trunk.state_dict().items()}
        self._writer.write_tensors("trunk", trunk)
        solved = {name: value for name, value in report.as_json().items() if name != "model"}
        self._writer.commit({**RunState().as_json(), "mapped": solved})


_TABLES = {
    "cells/embedding": "embedding",
    "cells/intercept": "intercept",
    "solve/iterations": "iterations",
    "solve/gradient_norm": "gradient_norm",
    "solve/objective": "objective",
    "solve/converged": "converged",
}
"""Cell table of the checkpoint -> field of `SolvedCells`."""


def _open_features(
    h: NDArray[np.float32], rows: NDArray[np.int64], n_peaks: int
) -> NDArray[np.float64]:
    """Return ``[h_p, 1]`` of every peak of the atlas, float64 (P, E + 1); 0 where not fitted."""
    features = np.zeros((n_peaks, h.shape[1] + 1))
    features[rows, :-1], features[rows, -1] = h, 1
    return features


def _open_sums(
    atlas: Atlas, block: CellBlock, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum the open peaks' features for each cell of a block, float64 (n_cells, E + 1)."""
    sums = np.zeros((block.n_cells, features.shape[1]))
    for start, stop in runs(atlas.n_peaks, _READ_PEAKS):
        labels = atlas.labels(block.index, start, stop)
        ones = np.ones(len(labels.indices))
        by_peak = sparse.csr_array(
            (ones, labels.indices.astype(np.int32), labels.indptr),
            shape=(stop - start, block.n_cells),
        )
        sums += by_peak.T @ features[start:stop]
    return sums


def _report(
    out: str, solved: SolvedCells, n_peaks: int, l2: float, seconds: tuple[float, float]
) -> MapReport:
    return MapReport(
        model=out,
        n_peaks=n_peaks,
        l2=l2,
        loss=float(solved.objective.mean()) / n_peaks,
        seconds_embedding=seconds[0],
        seconds_solving=seconds[1],
        iterations=solved.iterations.numpy().astype(np.int32),
        gradient_norm=solved.gradient_norm.numpy().astype(np.float32),
        converged=solved.converged.numpy(),
        one_class=solved.one_class.numpy(),
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
