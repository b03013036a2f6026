"""Which k-mers windows contain, and how well they tell a number of each window."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["kmer_counts", "ridge_predictions"]

_WINDOWS_AT_ONCE = 256


def kmer_counts(codes: NDArray[np.uint8], k: int = 6) -> NDArray[np.float32]:
    """Return how often each k-mer is in each window, float32 (n, 2,080 for k = 6).

    A k-mer and its reverse complement count as one; one with an unknown base counts as none.

    Parameters
    ----------
    codes
        Bases 0..4, shape (n, L), L >= k.
    k
        Length of the words, 1..8.
    """
    columns = _columns(k)
    n_columns = int(columns.max()) + 1
    counts = np.empty((len(codes), n_columns - 1), np.float32)
    for start in range(0, len(codes), _WINDOWS_AT_ONCE):
        words = columns[_words(codes[start : start + _WINDOWS_AT_ONCE], k)]
        words += np.arange(len(words))[:, None] * n_columns
        found = np.bincount(words.ravel(), minlength=len(words) * n_columns)
        counts[start : start + len(words)] = found.reshape(len(words), n_columns)[:, :-1]
    return counts


def ridge_predictions(
    features: NDArray[np.float32],
    values: NDArray[np.float64],
    folds: NDArray[np.int64],
    *,
    penalty: float,
) -> NDArray[np.float64]:
    """Predict each window's value by a ridge regression on the windows of the other folds.

    It is solved in its dual form, n x n, because there are more features than windows.

    Parameters
    ----------
    features
        Shape (n, number of features).
    values
        What to predict, (n,).
    folds
        Each window's fold, (n,).
    penalty
        On the squared weights.

    Returns
    -------
    numpy.ndarray
        float64 (n,): predictions less the mean of the values they were fitted to.
    """
    centred = features - features.mean(0)
    products = (centred @ centred.T).astype(np.float64)
    predicted = np.zeros(len(values))
    for fold in np.unique(folds):
        out, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        within = products[np.ix_(rest, rest)] + penalty * np.eye(len(rest))
        weights = np.linalg.solve(within, values[rest] - values[rest].mean())
        predicted[out] = products[np.ix_(out, rest)] @ weights
    return predicted


def _words(codes: NDArray[np.uint8], k: int) -> NDArray[np.int64]:
    """Return each position's k-mer as a number in base 4, 4^k with an unknown base."""
    n = codes.shape[1] - k + 1
    words = np.zeros((len(codes), n), np.int64)
    unknown = np.zeros((len(codes), n), bool)
    for place in range(k):
        bases = codes[:, place : place + n]
        words = words * 4 + np.minimum(bases, 3)
        unknown |= bases > 3
    words[unknown] = 4**k
    return words


@cache
def _columns(k: int) -> NDArray[np.int64]:
    """Return each word's column; the last of all is that of words with an unknown base."""
    words = np.arange(4**k)
    digits = words[:, None] // 4 ** np.arange(k) % 4  # the last base first
    reverse = ((3 - digits) * 4 ** np.arange(k - 1, -1, -1)).sum(1)
    columns = np.unique(np.minimum(words, reverse), return_inverse=True)[1]
    return np.append(columns, columns.max() + 1).astype(np.int64)
