"""The cells in two dimensions (UMAP), and their Leiden clusters."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.extras import needed
from atlasbasset.inference.cell_labels import CellLabels
from atlasbasset.metrics import leiden
from atlasstore.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["clusters_of", "umap_of"]

_NEIGHBOURS, _LEAST_DISTANCE = 15, 0.3
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
        umap: Any = needed("umap", extra="report", purpose="The map of the cells")
        reducer = umap.UMAP(
            n_neighbors=min(_NEIGHBOURS, n - 1),
            min_dist=_LEAST_DISTANCE,
            metric="cosine",
            init="pca",
            random_state=seed,
            n_jobs=1,
        )
        return np.asarray(reducer.fit_transform(embedding), np.float32)


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
