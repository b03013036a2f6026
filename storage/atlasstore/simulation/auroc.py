"""Area under the ROC curve by ranks, for the simulation's own ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["auroc_rows"]


def auroc_rows(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the auROC of every row.

    ``(R - n1 (n1 + 1) / 2) / (n1 n0)``, where R is the sum of the positives' ranks, ties at their
    mean rank (Mann and Whitney 1947).

    Parameters
    ----------
    scores, labels
        Shape (n_rows, n).

    Returns
    -------
    numpy.ndarray
        float64, shape (n_rows,); NaN where a row has one class only.
    """
    n_positive = labels.sum(axis=1, dtype=np.float64)
    n_negative = labels.shape[1] - n_positive
    rank_sum = (rankdata(scores, axis=1) * labels).sum(axis=1)
    pairs = n_positive * n_negative
    wins = rank_sum - n_positive * (n_positive + 1) / 2
    return np.asarray(np.divide(wins, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0))
