"""What means of labels predict: a ceiling for predictions by groups, and a floor without any.

A group's mean accessibility of a peak says all that is common to its cells, so a model that knew
sequences perfectly, and groups alone, could hardly be better. The mean is of *other* cells than
those it is held against: the cells of each group are dealt to two halves, each predicted by the
other's means, so that no cell predicts itself.

Scores are log odds of the peak in the group plus log odds of the cell's depth. Letters: P peaks,
N cells, G groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from .labels import SparseLabels
from .scores import FactoredScores, PredictionQuality, evaluate_scores

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["depth_floor", "group_oracle", "log_odds"]


def log_odds(n_open: NDArray[np.number], n: NDArray[np.number] | int) -> NDArray[np.float64]:
    """Return the logarithm of (open + 1/2) / (closed + 1/2)."""
    found: NDArray[np.float64] = np.log((n_open + 0.5) / (n - n_open + 0.5))
    return found


def group_oracle(
    labels: sp.csr_array,
    groups: NDArray[np.integer],
    depth: NDArray[np.floating],
    *,
    seed: int = 0,
) -> PredictionQuality:
    """Predict peaks by their mean in the other half of each cell's group.

    Parameters
    ----------
    labels
        bool (P, N), of the very peaks that are predicted: it is an oracle.
    groups
        (N,), 0..G-1: each cell's group; of one group only, peaks' means are left.
    depth
        (N,): log odds of each cell, from other peaks.
    seed
        Of the halves.

    Returns
    -------
    PredictionQuality
        Per cell, and per peak the mean of both halves: within a half cells are ranked together.
    """
    half = _halves(np.asarray(groups), seed=seed)
    by_cell = labels.tocsc()
    parts = []
    for at in (0, 1):
        judged, others = np.flatnonzero(half == at), np.flatnonzero(half != at)
        means = _group_log_odds(sp.csr_array(by_cell[:, others]), groups[others], groups.max() + 1)
        member = np.eye(means.shape[1], dtype=np.float32)[groups[judged]]
        scores = FactoredScores(means, member, depth[judged].astype(np.float32))
        parts.append((judged, evaluate_scores(scores, SparseLabels(by_cell[:, judged]))))
    return _joined(parts, labels.shape[1])


def depth_floor(labels: sp.csr_array, depth: NDArray[np.floating]) -> PredictionQuality:
    """Predict every peak by the cell's depth alone: 0.5 per cell, and what depth gives per peak."""
    nothing = np.zeros((labels.shape[0], 1), np.float32), np.zeros((len(depth), 1), np.float32)
    return evaluate_scores(FactoredScores(*nothing, depth.astype(np.float32)), SparseLabels(labels))


def _halves(groups: NDArray[np.integer], *, seed: int) -> NDArray[np.int64]:
    """Deal each group's cells to halves 0 and 1, as even as can be."""
    order = np.random.default_rng(seed).permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    half = np.empty(len(groups), np.int64)
    half[order] = np.arange(len(groups)) % 2
    return half


def _group_log_odds(
    labels: sp.csr_array, groups: NDArray[np.integer], n_groups: int
) -> NDArray[np.float32]:
    """Return the log odds of each peak in each group, float32 (P, G)."""
    n_cells = len(groups)
    member = sp.csr_array((np.ones(n_cells), (np.arange(n_cells), groups)), (n_cells, n_groups))
    n_open = (labels.astype(np.float64) @ member).toarray()
    return log_odds(n_open, np.bincount(groups, minlength=n_groups)).astype(np.float32)


def _joined(
    parts: list[tuple[NDArray[np.intp], PredictionQuality]], n_cells: int
) -> PredictionQuality:
    per_cell = np.full((2, n_cells), np.nan)
    for judged, found in parts:
        per_cell[:, judged] = found.auroc_per_cell, found.aupr_per_cell
    (_, a), (_, b) = parts
    return PredictionQuality(
        per_cell[0],
        per_cell[1],
        _mean_of_both(a.auroc_per_peak, b.auroc_per_peak),
        _mean_of_both(a.aupr_per_peak, b.aupr_per_peak),
    )


def _mean_of_both(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, (a + b) / 2))
