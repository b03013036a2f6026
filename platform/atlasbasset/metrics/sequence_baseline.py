"""What counts of 6-mers predict: ridge regression of every cell's labels, closed form.

A k-mer and its reverse complement are one feature (2,080 for k = 6). Features are counts, scaled
to mean 0 and variance 1 over the training peaks. All cells share one decomposition, so a penalty
more costs one product; it is chosen on a tenth of the training peaks.

Letters: P peaks, N cells, K features, L sequence length, bp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from .labels import SparseLabels
from .scores import FactoredScores, mean_auroc_per_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["KmerRidge", "fit_kmer_ridge", "kmer_counts"]

PENALTIES = (1e2, 1e3, 1e4, 1e5, 1e6)
_UNKNOWN = 4
_RANK = 1e-6
"""Eigenvalues below this share of the largest are rounding."""
_TILE_PEAKS = 1024
_MOST_JUDGED = 500
"""Cells that a penalty is chosen on, at most."""


def kmer_counts(codes: NDArray[np.uint8], *, k: int = 6) -> NDArray[np.float32]:
    """Count k-mers, a k-mer and its reverse complement as one.

    Parameters
    ----------
    codes
        uint8 (P, L): A, C, G, T = 0..3, unknown 4; k-mers with an unknown base are left out.
    k
        Length, bp.

    Returns
    -------
    numpy.ndarray
        float32 (P, K): by the smaller number of the two, A = 0 ... T = 3, first base first.

    Examples
    --------
    >>> kmer_counts(np.array([[0, 1, 3]], np.uint8), k=2)  # AC is GT; CT is AG
    array([[0., 1., 1., 0., 0., 0., 0., 0., 0., 0.]], dtype=float32)
    """
    feature = _features(k)
    found = np.empty((len(codes), feature.max() + 1), np.float32)
    for start in range(0, len(codes), _TILE_PEAKS):
        tile = codes[start : start + _TILE_PEAKS]
        found[start : start + len(tile)] = _counted(tile, feature, k)
    return found


@dataclass(frozen=True, eq=False, slots=True)
class KmerRidge:
    """A ridge regression on scaled counts of k-mers."""

    mean: NDArray[np.float32]
    """(K,), of the counts of the training peaks."""
    scale: NDArray[np.float32]
    """(K,), standard deviation; 1 where counts do not vary."""
    coefficients: NDArray[np.float32]
    """(N, K)."""
    intercept: NDArray[np.float32]
    """(N,): open share of the training peaks."""
    penalty: float
    """Weight of the squared coefficients that was chosen."""

    def scores(self, counts: NDArray[np.float32]) -> FactoredScores:
        """Return predictions for peaks with these counts, (P, K), in all cells."""
        return FactoredScores((counts - self.mean) / self.scale, self.coefficients, self.intercept)


def fit_kmer_ridge(
    counts: NDArray[np.float32],
    labels: sp.csr_array,
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> KmerRidge:
    """Fit the ridge of every cell; the penalty is the best on a tenth of the peaks.

    Parameters
    ----------
    counts
        float32 (P, K), of the training peaks, from `kmer_counts`.
    labels
        (P, N), sparse; what is not zero is open.
    penalties
        To choose from, by the mean auROC per cell of at most 500 cells.
    seed
        Of the peaks and cells that decide.
    """
    is_open = sp.csr_array(labels != 0).astype(np.float32)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(counts))
    judge, kept = np.split(order, [max(1, len(counts) // 10)])
    cells = np.sort(rng.permutation(is_open.shape[1])[:_MOST_JUDGED])
    trial = _Solver.of(counts[kept], sp.csr_array(is_open[kept][:, cells]))
    truth = SparseLabels(is_open[judge][:, cells])
    judged = [_judged(trial.solved(penalty), counts[judge], truth) for penalty in penalties]
    best = penalties[int(np.argmax(np.nan_to_num(judged)))]
    return _Solver.of(counts, is_open).solved(best)


def _judged(ridge: KmerRidge, counts: NDArray[np.float32], truth: SparseLabels) -> float:
    table = (counts - ridge.mean) / ridge.scale
    return mean_auroc_per_cell(table, ridge.coefficients, ridge.intercept, truth)


@dataclass(frozen=True, eq=False, slots=True)
class _Solver:
    """The eigenvectors of the features' products, and the labels' products with them."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    values: NDArray[np.float64]
    vectors: NDArray[np.float64]
    projected: NDArray[np.float64]
    """(K, N): of the features' products with the labels."""
    intercept: NDArray[np.float32]

    @classmethod
    def of(cls, counts: NDArray[np.float32], is_open: sp.csr_array) -> _Solver:
        mean, scale = counts.mean(0), counts.std(0)
        scale[scale == 0] = 1
        x = (counts - mean) / scale
        values, vectors = _eigen(x)
        # features have mean 0: centring the labels changes nothing
        with_labels = (is_open.T @ x).T.astype(np.float64)
        intercept = np.asarray(is_open.mean(axis=0), np.float32).ravel()
        return cls(mean, scale, values, vectors, vectors.T @ with_labels, intercept)

    def solved(self, penalty: float) -> KmerRidge:
        shrunk = self.projected / (self.values + penalty)[:, None]
        coefficients = np.ascontiguousarray((self.vectors @ shrunk).T, np.float32)
        return KmerRidge(self.mean, self.scale, coefficients, self.intercept, penalty)


def _eigen(x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return eigenvalues above 0 and eigenvectors of ``x' x``, from the smaller of two products."""
    if len(x) >= x.shape[1]:
        values, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    else:
        values, vectors = np.linalg.eigh((x @ x.T).astype(np.float64))
    some = values > values[-1] * _RANK
    values, vectors = values[some], vectors[:, some]
    if len(x) < x.shape[1]:
        vectors = (x.T @ vectors) / np.sqrt(values)
    return values, vectors


def _features(k: int) -> NDArray[np.int64]:
    """Return the feature of each k-mer by its number, int64 (4**k,)."""
    number = np.arange(4**k)
    reverse = np.zeros_like(number)
    for place in range(k):
        reverse = 4 * reverse + 3 - (number // 4**place) % 4
    _, feature = np.unique(np.minimum(number, reverse), return_inverse=True)
    return feature


def _counted(codes: NDArray[np.uint8], feature: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    windows = np.lib.stride_tricks.sliding_window_view(codes, k, axis=1)
    number = windows @ (4 ** np.arange(k - 1, -1, -1))
    known = (windows != _UNKNOWN).all(axis=2)
    row = np.broadcast_to(np.arange(len(codes))[:, None], number.shape)
    n_features = int(feature.max()) + 1
    at = row[known] * n_features + feature[number[known]]
    return np.bincount(at, minlength=len(codes) * n_features).reshape(len(codes), n_features)
