"""Exact nearest neighbours, for all cells or for a sample of query cells.

Scikit-learn's brute-force search is used: it streams over tiles, uses every core, and trees bring
no gain in 32 dimensions. Ties are broken arbitrarily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ._cells import sample_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Neighbors", "nearest", "query_cells"]

_ALL_UP_TO = 50_000
"""Cells up to which every cell is a query by default."""
_SAMPLE = 10_000
"""Query cells above that: a mean of shares then has a standard error below 0.005."""


class Neighbors(NamedTuple):
    """The k nearest cells of each query, nearest first, the query itself left out."""

    distances: NDArray[np.float64]
    """Shape (n_queries, k)."""
    cells: NDArray[np.intp]
    """Shape (n_queries, k): rows of the embedding."""


def query_cells(n_cells: int, n_queries: int | None, *, seed: int) -> NDArray[np.intp]:
    """Choose the cells whose neighbours are looked at.

    `n_queries` None means every cell up to 50,000 cells and 10,000 of them above.
    """
    if n_queries is None:
        n_queries = n_cells if n_cells <= _ALL_UP_TO else _SAMPLE
    return sample_rows(n_cells, n_queries, seed=seed)


def nearest(
    embedding: NDArray[np.float32],
    queries: NDArray[np.intp],
    *,
    k: int,
    metric: Literal["euclidean", "cosine"] = "euclidean",
) -> Neighbors:
    """Find the k (< N) nearest cells of each query cell among all cells."""
    from sklearn.neighbors import NearestNeighbors  # takes a second

    search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute", metric=metric).fit(embedding)
    distances, cells = search.kneighbors(embedding[queries])
    other = cells != queries[:, None]
    # among more than k copies of one point the query itself may be missing: drop the last instead
    other[other.all(axis=1), -1] = False
    shape = len(queries), k
    return Neighbors(
        distances[other].reshape(shape).astype(np.float64), cells[other].reshape(shape)
    )
