"""Whether clusters of the embedding match known labels.

Source: docs/method.md, "Measures".
Letters: N cells, E numbers per cell.

Leiden optimises modularity (igraph, an optional extra) on the neighbour graph of `_graph`, scanpy's
default, and the resolution is bisected until there are as many clusters as labels. The number of
clusters is not monotone in the resolution, so the closest is kept where none fits; the result says
what was found.
"""

from __future__ import annotations

import importlib
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp

from atlasstore.errors import MissingExtraError, UserInputError, extra_packages

from ._cells import LabelledCells, checked_embedding, labelled_cells, sample_rows
from ._graph import umap_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from ._plain import JsonDict

__all__ = ["CellTypeAsw", "ClusterAgreement", "cell_type_asw", "cluster_agreement", "leiden"]

_RESOLUTION_BOUNDS = (1e-3, 1e2)
_RESOLUTION_STEPS = 15
"""Halvings of the five decades between the bounds: down to steps of 0.04 %."""


@dataclass(frozen=True, slots=True)
class ClusterAgreement:
    """How well Leiden clusters match the labels."""

    ari: float
    """Adjusted Rand index: 1 equal, about 0 by chance."""
    ami: float
    """Adjusted mutual information: 1 equal, about 0 by chance."""
    homogeneity: float
    """1 where every cluster holds one label only, 0..1."""
    n_clusters: int
    """Clusters found; the search aims at `n_labels` and may miss."""
    n_labels: int
    """Labels among the cells used."""
    resolution: float
    """Of the clustering kept."""
    n_cells: int
    """Cells with a label."""
    n_cells_used: int
    """Cells clustered; fewer than `n_cells` means a seeded sample."""

    def as_json(self) -> JsonDict:
        """Give every field."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class CellTypeAsw:
    """Cell type average silhouette width."""

    asw: float
    """(mean silhouette + 1) / 2: 1 tight and apart, 0.5 overlapping."""
    n_labels: int
    """Labels among the cells used."""
    n_cells: int
    """Cells with a label."""
    n_cells_used: int
    """Cells compared pairwise; fewer than `n_cells` means a seeded sample."""

    def as_json(self) -> JsonDict:
        """Give every field."""
        return asdict(self)


def cluster_agreement(
    embedding: ArrayLike,
    labels: ArrayLike,
    *,
    seed: int = 0,
    n_neighbors: int = 15,
    max_cells: int = 50_000,
) -> ClusterAgreement:
    """Cluster the cells into as many clusters as there are labels and compare the two.

    Parameters
    ----------
    embedding
        float32, shape (N, E).
    labels
        Shape (N,); cells whose label is missing are left out.
    seed
        Of the clustering, and of the sample of cells.
    n_neighbors
        Neighbours in the graph, the cell itself counted; lowered to the number of cells.
    max_cells
        Above this, a sample of so many cells is clustered.

    Raises
    ------
    UserInputError
        There is not one label per cell, fewer than three labelled cells, or `n_neighbors` is
        below 2.
    MissingExtraError
        igraph is not installed.
    """
    from sklearn import metrics  # takes a second, which every worker would wait

    known, n_cells = _sampled(labelled_cells(embedding, labels), max_cells, seed=seed)
    n_labels = len(np.unique(known.codes))
    cluster = _leiden_on(_checked_graph(known.embedding, n_neighbors))
    clusters, resolution = _search(lambda value: cluster(value, seed), n_labels)
    return ClusterAgreement(
        ari=float(metrics.adjusted_rand_score(known.codes, clusters)),
        ami=float(metrics.adjusted_mutual_info_score(known.codes, clusters)),
        homogeneity=float(metrics.homogeneity_score(known.codes, clusters)),
        n_clusters=int(clusters.max()) + 1,
        n_labels=n_labels,
        resolution=resolution,
        n_cells=n_cells,
        n_cells_used=len(known.codes),
    )


def cell_type_asw(
    embedding: ArrayLike,
    labels: ArrayLike,
    *,
    metric: Literal["euclidean", "correlation", "cosine"] = "euclidean",
    seed: int = 0,
    max_cells: int = 20_000,
) -> CellTypeAsw:
    """Compute the mean silhouette over cells, rescaled to 0..1.

    Parameters
    ----------
    embedding
        float32, shape (N, E): an embedding, or denoised profiles.
    labels
        Shape (N,); cells whose label is missing are left out.
    metric
        "euclidean" for embeddings; "correlation" (1 - Pearson r) for denoised profiles, "cosine"
        for their `profile_directions`, which is the same.
    seed
        Of the sample of cells.
    max_cells
        Above this, a sample of so many cells is compared (time grows with its square).

    Raises
    ------
    UserInputError
        There are fewer than two labels or as many labels as cells.
    """
    from sklearn import metrics

    known, n_cells = _sampled(labelled_cells(embedding, labels), max_cells, seed=seed)
    n_labels = len(np.unique(known.codes))
    if not 2 <= n_labels < len(known.codes):
        raise UserInputError(
            f"The silhouette needs 2 labels or more, and fewer than cells; got {n_labels} labels"
            f" on {len(known.codes)} cells."
        )
    widths = metrics.silhouette_samples(known.embedding, known.codes, metric=metric)
    return CellTypeAsw((float(widths.mean()) + 1) / 2, n_labels, n_cells, len(known.codes))


def leiden(
    embedding: ArrayLike, *, resolution: float = 1.0, n_neighbors: int = 15, seed: int = 0
) -> NDArray[np.intp]:
    """Cluster all cells at one resolution; int (N,), 0 the largest cluster.

    Raises `UserInputError` for fewer than 3 cells and `MissingExtraError` where
    igraph is not installed.
    """
    table = checked_embedding(embedding)
    return _leiden_on(_checked_graph(table, n_neighbors))(resolution, seed)


def _checked_graph(embedding: NDArray[np.float32], n_neighbors: int) -> sp.csr_array:
    if n_neighbors < 2 or len(embedding) < 3:
        raise UserInputError(
            "Clustering needs n_neighbors of 2 or more and at least 3 cells; got"
            f" {n_neighbors} and {len(embedding)}."
        )
    return umap_graph(embedding, n_neighbors=min(n_neighbors, len(embedding)))


def _sampled(known: LabelledCells, max_cells: int, *, seed: int) -> tuple[LabelledCells, int]:
    """Draw at most `max_cells` of the labelled cells; say how many there were."""
    n = len(known.codes)
    if n <= max_cells:
        return known, n
    rows = sample_rows(n, max_cells, seed=seed)
    drawn = LabelledCells(known.embedding[rows], known.codes[rows], known.names, known.n_unlabelled)
    return drawn, n


def _leiden_on(graph: sp.csr_array) -> Callable[[float, int], NDArray[np.intp]]:
    """Prepare clusterings of one graph: (resolution, seed) to clusters, 0 the largest."""
    igraph = _igraph()
    upper = sp.triu(graph, k=1).tocoo()
    edges = np.stack([upper.row, upper.col], axis=1)
    net = igraph.Graph(n=graph.shape[0], edges=edges)

    def cluster(resolution: float, seed: int) -> NDArray[np.intp]:
        igraph.set_random_number_generator(random.Random(seed))
        try:
            found = net.community_leiden(
                objective_function="modularity",
                weights=upper.data,
                resolution=resolution,
                n_iterations=-1,
            )
        finally:
            igraph.set_random_number_generator(random)
        return _largest_first(np.asarray(found.membership, np.intp))

    return cluster


def _igraph() -> Any:
    try:
        return importlib.import_module("igraph")
    except ImportError as error:
        raise MissingExtraError(
            "Clustering needs igraph, which is not installed; run: "
            f"pip install {extra_packages('eval')}"
        ) from error


def _largest_first(clusters: NDArray[np.intp]) -> NDArray[np.intp]:
    order = np.argsort(-np.bincount(clusters), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return place[clusters]


def _search(
    cluster: Callable[[float], NDArray[np.intp]], wanted: int
) -> tuple[NDArray[np.intp], float]:
    """Bisect the resolution (geometrically, from 1) until there are `wanted` clusters."""
    low, high = _RESOLUTION_BOUNDS
    resolution, best = 1.0, (np.empty(0, np.intp), np.nan)
    closest = np.inf
    for _ in range(_RESOLUTION_STEPS):
        clusters = cluster(resolution)
        surplus = int(clusters.max()) + 1 - wanted
        if abs(surplus) < closest:
            closest, best = abs(surplus), (clusters, resolution)
        if surplus == 0:
            break
        low, high = (low, resolution) if surplus > 0 else (resolution, high)
        resolution = float(np.sqrt(low * high))
    return best
