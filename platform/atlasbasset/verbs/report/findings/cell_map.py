"""The cells in two dimensions (UMAP), and their Leiden clusters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.extras import needed
from atlasbasset.inference.cell_labels import CellLabels
from atlasbasset.metrics import leiden
from atlasbasset.metrics._graph import umap_graph
from atlasstore.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["clusters_of", "umap_of"]

_NEIGHBOURS, _LEAST_DISTANCE, _SPREAD = 15, 0.3, 1.0
_LEAST_CELLS = 3


def umap_of(embedding: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Lay out cells in the plane by the cosine of embeddings; a seed gives the same map again.

    Parameters
    ----------
    embedding
        float32 (n, E).

    Returns
    -------
    numpy.ndarray
        float32 (n, 2); below three cells the first two numbers of the embedding.

    Raises
    ------
    MissingExtraError
        umap-learn is not installed.
    """
    n = len(embedding)
    if n < _LEAST_CELLS:
        return np.ascontiguousarray(embedding[:, :2], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it could do with other packages
        umap: Any = needed("umap.umap_", extra="report", purpose="The map of the cells")
        # its own graph would be compiled for ten seconds in every process
        graph = umap_graph(embedding, n_neighbors=min(_NEIGHBOURS, n - 1), metric="cosine")
        a, b = umap.find_ab_params(_SPREAD, _LEAST_DISTANCE)
        placed, _ = umap.simplicial_set_embedding(
            embedding, graph.astype(np.float32), n_components=2, init="pca", n_epochs=None,
            initial_alpha=1.0, a=a, b=b, gamma=1.0, negative_sample_rate=5,
            random_state=np.random.RandomState(seed), metric="cosine", metric_kwds={},
            densmap=False, densmap_kwds={}, output_dens=False,
        )  # fmt: skip
    return np.asarray(placed, np.float32)


def clusters_of(embedding: NDArray[np.float32], *, seed: int) -> CellLabels | None:
    """Return Leiden clusters, named by number, the largest first; None where igraph is absent."""
    if len(embedding) < _LEAST_CELLS:
        return None
    try:
        codes = leiden(embedding, seed=seed)
    except MissingExtraError:
        return None
    names = tuple(f"cluster {number}" for number in range(int(codes.max()) + 1))
    return CellLabels("Leiden cluster", names, codes.astype(np.int64))
