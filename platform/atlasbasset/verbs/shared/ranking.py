"""Ranking predictions by workers: each reads the labels of what it ranks, and nobody has all.

A product of a few peaks or cells may be summed in another order than one of many, so measures can
differ from those of one process by the pairs whose logits differ in the last bits: 1e-6 in auROC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.batch.gather import gather
from atlasbasset.metrics import (
    FactoredScores,
    PredictionQuality,
    SparseLabels,
    rank_cells,
    rank_peaks,
)
from atlasbasset.verbs.shared.atlas_peaks import peak_labels
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from atlasstore.resume.units import Ranges, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.gather import Arrays
    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Unit

__all__ = ["rank_by_workers"]

_UNIT_PAIRS = 1 << 26
_LEAST_PEAKS = 64
"""Peaks of a unit at least: fewer would read the same stored chunks of labels again."""


def rank_by_workers(
    atlas: Atlas,
    rows: NDArray[np.int64],
    factors: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    *,
    pool: WorkerPool,
    on_event: Subscriber,
) -> tuple[PredictionQuality, int]:
    """Measure predictions of the peaks `rows`; return the measures and the number of open pairs.

    Parameters
    ----------
    factors
        h (len(rows), E), embedding (N, E) and intercept (N,), as for `FactoredScores`.
    pool
        Of one worker or more; its session is joined.
    """
    work = _Predictions(pool.worker_url(atlas.url), rows, *factors, threads=max(1, int(pool.cpus)))
    blocks = [{"start": block.start, "stop": block.stop} for block in atlas.blocks]
    stage = Stage("ranking cells", "cells")
    cells = gather(blocks, work.cells, pool=pool, stage=stage, on_event=on_event)
    units = Ranges(len(rows), max(_LEAST_PEAKS, _UNIT_PAIRS // atlas.n_cells))
    stage = Stage("ranking peaks", "peaks")
    peaks = gather(units, work.peaks, pool=pool, stage=stage, on_event=on_event)
    found = PredictionQuality(
        *(np.concatenate([part[name] for part in cells]) for name in _MEASURES),
        *(np.concatenate([part[name] for part in peaks]) for name in _MEASURES),
    )
    return found, sum(int(part["n_open"]) for part in cells)


_MEASURES = ("auroc", "aupr")


@dataclass(frozen=True, eq=False)
class _Predictions:
    """Predictions of chosen peaks in all cells, and where the labels are."""

    atlas_url: str
    rows: NDArray[np.int64]
    h: NDArray[np.float32]
    embedding: NDArray[np.float32]
    intercept: NDArray[np.float32]
    threads: int

    @cached_property
    def _atlas(self) -> Atlas:
        return Atlas.open(self.atlas_url)

    def cells(self, unit: Unit) -> Arrays:
        """Measure cells [start, stop) over the chosen peaks."""
        start, stop = unit["start"], unit["stop"]
        labels = peak_labels(self._atlas, self.rows, cells=np.arange(start, stop), on_event=ignore)
        scores = FactoredScores(self.h, self.embedding[start:stop], self.intercept[start:stop])
        found = rank_cells(scores, SparseLabels(labels), workers=self.threads)
        n_open = np.array(labels.nnz)
        return {"auroc": found.auroc, "aupr": found.average_precision, "n_open": n_open}

    def peaks(self, unit: Unit) -> Arrays:
        """Measure the chosen peaks [start, stop) over all cells."""
        start, stop = unit["start"], unit["stop"]
        labels = peak_labels(self._atlas, self.rows[start:stop], on_event=ignore)
        scores = FactoredScores(self.h[start:stop], self.embedding, self.intercept)
        found = rank_peaks(scores, SparseLabels(labels), workers=self.threads)
        return {"auroc": found.auroc, "aupr": found.average_precision}
