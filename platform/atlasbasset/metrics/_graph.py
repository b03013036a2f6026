"""The weighted neighbour graph that clusters are found on and cells are laid out by.

It is the graph of scanpy's defaults: 15 nearest neighbours, the cell itself counted, with UMAP's
weights (McInnes et al. 2018): exp(-(d - d_nearest) / sigma), sigma such that a cell's weights sum
to log2(15), joined as a + b - a b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp

from ._knn import nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["umap_graph"]

_SIGMA_STEPS = 64


def umap_graph(
    embedding: NDArray[np.float32],
    *,
    n_neighbors: int,
    metric: Literal["euclidean", "cosine"] = "euclidean",
) -> sp.csr_array:
    """Build the symmetric weighted neighbour graph, float64 (N, N), empty diagonal."""
    n, k = len(embedding), n_neighbors - 1
    found = nearest(embedding, np.arange(n, dtype=np.intp), k=k, metric=metric)
    weights = _umap_weights(found.distances, target=np.log2(n_neighbors))
    indptr = np.arange(0, n * k + 1, k)
    directed = sp.csr_array((weights.ravel(), found.cells.ravel(), indptr), shape=(n, n))
    return sp.csr_array(directed + directed.T - directed * directed.T)


def _umap_weights(distances: NDArray[np.float64], *, target: float) -> NDArray[np.float64]:
    """Weigh neighbours exp(-excess / sigma), sigma bisected so that a row sums to `target`."""
    excess = distances - distances[:, :1]
    # a row cannot sum to less than its nearest neighbours' ones: sigma then shrinks to its floor
    sigma = np.maximum(excess.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    floor, low, high = sigma * 1e-3, np.zeros_like(sigma), np.full_like(sigma, np.inf)
    for _ in range(_SIGMA_STEPS):
        too_much = np.exp(-excess / sigma).sum(axis=1, keepdims=True) > target
        low, high = np.where(too_much, low, sigma), np.where(too_much, sigma, high)
        sigma = np.where(np.isinf(high), 2 * sigma, (low + high) / 2)
    weights: NDArray[np.float64] = np.exp(-excess / np.maximum(sigma, floor))
    return weights
