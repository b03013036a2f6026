"""Expression imputed for cells that have accessibility alone, from cells that have RNA alone.

Source: docs/method.md, "Measures" (the paper's R_c). The steps and their numbers are those of
Seurat's anchors (Stuart et al. 2019): mutual nearest neighbours in the shared space, scored by the
neighbours that they have in common, and a mean over the nearest anchors of each cell. Nothing is
told of the pairing.

Letters: N cells of accessibility, N' of RNA, A anchors, G genes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Anchors", "find_anchors", "impute", "joint_components"]

_K_ANCHOR, _K_SCORE, _K_WEIGHT = 5, 30, 50
_SCORE_SPAN = (0.01, 0.90)
"""Quantiles of the raw scores that become 0 and 1."""
_DIM = 30


class Anchors(NamedTuple):
    """Pairs of cells that are taken for alike, int64 (A,) each, and their scores in 0..1 (A,)."""

    atac: NDArray[np.int64]
    rna: NDArray[np.int64]
    score: NDArray[np.float64]


def find_anchors(atac: NDArray[np.floating], rna: NDArray[np.floating]) -> Anchors:
    """Find mutual nearest neighbours (k = 5) in a shared space and score them.

    Parameters
    ----------
    atac, rna
        (N, dim) and (N', dim), as `co_embed` returns.
    """
    near = _graph(atac, rna, _K_ANCHOR).multiply(_graph(rna, atac, _K_ANCHOR).T).tocoo()
    a, b = near.row.astype(np.int64), near.col.astype(np.int64)
    around_a = sparse.hstack([_graph(atac, atac, _K_SCORE), _graph(atac, rna, _K_SCORE)]).tocsr()
    around_b = sparse.hstack([_graph(rna, atac, _K_SCORE), _graph(rna, rna, _K_SCORE)]).tocsr()
    n_shared = np.asarray(around_a[a].multiply(around_b[b]).sum(axis=1)).ravel()
    if not n_shared.size:
        return Anchors(a, b, n_shared)
    low, high = np.quantile(n_shared, _SCORE_SPAN)
    score = (n_shared - low) / (high - low) if high > low else np.ones(len(n_shared))
    return Anchors(a, b, np.clip(score, 0, 1))


def impute(
    anchors: Anchors, embedding: NDArray[np.floating], expression: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return each cell's mean expression over the anchors that are nearest to it, (N, G).

    Parameters
    ----------
    embedding
        (N, E): where anchors are near, of the cells with accessibility.
    expression
        (N', G).
    """
    k = min(_K_WEIGHT, len(anchors.score))
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(embedding[anchors.atac])
    distances, at = search.kneighbors(embedding)
    furthest = np.maximum(distances[:, -1:], np.finfo(float).tiny)
    weight = 1 - np.exp(-(1 - distances / furthest) * anchors.score[at] / 4)
    total = weight.sum(axis=1, keepdims=True)
    weight = np.where(total > 0, weight / np.where(total > 0, total, 1), 1 / k)
    rows = np.repeat(np.arange(len(embedding)), k)
    pairs = (weight.ravel(), (rows, anchors.rna[at].ravel()))
    shape = len(embedding), len(expression)
    return np.asarray(sparse.csr_array(pairs, shape=shape) @ np.asarray(expression, np.float64))


def joint_components(
    imputed: NDArray[np.floating], expression: NDArray[np.floating], *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place imputed and measured expression in one space: principal components of both, (., 30)."""
    both = np.concatenate([imputed, expression])
    found = PCA(min(_DIM, *both.shape), random_state=seed).fit_transform(both)
    return found[: len(imputed)], found[len(imputed) :]


def _graph(queries: NDArray[np.floating], cells: NDArray[np.floating], k: int) -> sparse.csr_array:
    """Return which of the cells are the k nearest to each query, 0 or 1 (queries, cells)."""
    search = NearestNeighbors(n_neighbors=min(k, len(cells)), algorithm="brute").fit(cells)
    return sparse.csr_array(search.kneighbors_graph(queries))
