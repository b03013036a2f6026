"""Predictions on an atlas's peaks, measured, and how sure the means are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.metrics import (
    FactoredScores,
    PredictionQuality,
    SparseLabels,
    evaluate_scores,
    mean_auroc_per_cell,
)
from atlasbasset.verbs.shared.atlas_peaks import peak_labels
from atlasbasset.verbs.shared.ranking import rank_by_workers
from atlasstore.events import Notice

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["Certainty", "certainty_of", "measure_predictions"]

Interval = tuple[float, float]
Factors = tuple["NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.float32]"]

_FEW_PEAKS = 100
_GROUPS = 10
_MOST_CELLS = 1_000
_NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Certainty:
    """What a figure on a sample of peaks is worth; an interval is None where it has no spread."""

    positive_share: float
    """Share of the pairs of cell and predicted peak that are open: the auPR of chance."""
    auroc_per_cell: Interval | None
    """95 % interval of the mean auROC per cell, had other peaks been held out: a jackknife over 10
    groups of the peaks, on at most 1,000 cells."""
    auroc_per_peak: Interval | None
    """95 % normal interval of the mean auROC per peak."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "positive_share": self.positive_share,
            "auroc_per_cell": self.auroc_per_cell and list(self.auroc_per_cell),
            "auroc_per_peak": self.auroc_per_peak and list(self.auroc_per_peak),
        }


def measure_predictions(
    model: Model,
    atlas: Atlas,
    rows: NDArray[np.int64],
    on_event: Subscriber,
    *,
    h: NDArray[np.float32],
    pool: WorkerPool,
) -> tuple[PredictionQuality, Certainty]:
    """Predict the peaks `rows` and measure it; warn when there are fewer than 100.

    Parameters
    ----------
    h
        float32 (len(rows), E): the peaks' embeddings.
    pool
        Who ranks: this process, which holds all labels of the peaks, or workers, which read them
        block by block.
    """
    if len(rows) < _FEW_PEAKS:
        on_event(
            Notice(
                f"Warning: the figures stand on {len(rows):,} peaks; below {_FEW_PEAKS} chance "
                "moves them: see their intervals."
            )
        )
    factors = h, *model.table()
    cells, _ = _draw(model.n_cells, len(rows))
    if pool.count:
        found, n_open = rank_by_workers(atlas, rows, factors, pool=pool, on_event=on_event)
        sampled = peak_labels(atlas, rows, cells=cells, pool=pool, on_event=on_event)
    else:
        labels = peak_labels(atlas, rows, on_event=on_event)
        scores = FactoredScores(*factors)
        found = evaluate_scores(scores, SparseLabels(labels), on_event=on_event)
        sampled, n_open = labels[:, cells], labels.nnz
    return found, _certainty(found, factors, cells, sampled, n_open)


def certainty_of(
    found: PredictionQuality,
    h: NDArray[np.float32],
    embedding: NDArray[np.float32],
    intercept: NDArray[np.float32],
    labels: sparse.csr_array,
) -> Certainty:
    """Return how sure the means of `found` are, which was measured on the other four."""
    cells, _ = _draw(labels.shape[1], len(h))
    factors = h, embedding, intercept
    return _certainty(found, factors, cells, labels[:, cells], labels.nnz)


def _certainty(
    found: PredictionQuality,
    factors: Factors,
    cells: NDArray[np.int64],
    labels: sparse.csr_array,
    n_open: int,
) -> Certainty:
    """Return how sure the means are, given the labels of `cells` and the number of open pairs."""
    h, embedding, intercept = factors
    _, group = _draw(len(embedding), len(h))
    spread = _jackknife(h, embedding[cells], intercept[cells], labels, group)
    return Certainty(
        positive_share=float(n_open / (len(h) * len(embedding))),
        auroc_per_cell=_interval(found.mean_auroc_per_cell, spread),
        auroc_per_peak=_normal_interval(found.auroc_per_peak),
    )


def _draw(n_cells: int, n_peaks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the jackknife's cells, all or a seeded sample, and each peak's group."""
    rng = np.random.default_rng(0)
    cells = np.sort(rng.permutation(n_cells)[:_MOST_CELLS])
    return cells, rng.permutation(n_peaks) % _GROUPS


def _jackknife(
    h: NDArray[np.float32],
    embedding: NDArray[np.float32],
    intercept: NDArray[np.float32],
    labels: sparse.csr_array,
    group: NDArray[np.int64],
) -> float:
    """Return the standard error of the mean auROC per cell over the draw of peaks."""
    if len(h) < 2 * _GROUPS:
        return float("nan")
    means = np.empty(_GROUPS)
    for left_out in range(_GROUPS):
        kept = np.flatnonzero(group != left_out)
        part = SparseLabels(labels[kept])
        means[left_out] = mean_auroc_per_cell(h[kept], embedding, intercept, part)
    return float(np.sqrt((_GROUPS - 1) * means.var()))


def _normal_interval(values: NDArray[np.float64]) -> Interval | None:
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return None
    return _interval(float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known))))


def _interval(mean: float, error: float) -> Interval | None:
    if np.isnan(mean) or np.isnan(error):
        return None
    return mean - _NORMAL_95 * error, mean + _NORMAL_95 * error
