"""Clusters and silhouettes on cell types that are known."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score

from atlasbasset.metrics import _graph, cell_type_asw, cluster_agreement, clustering, leiden
from atlasstore.errors import MissingExtraError, UserInputError


def cell_types(
    rng: np.random.Generator, *, n: int = 400, types: int = 5, noise: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(0, types, n)
    centres = rng.normal(size=(types, 16))
    return centres[labels] + noise * rng.normal(size=(n, 16)), labels


def test_clear_cell_types_are_found(rng: np.random.Generator) -> None:
    found = cluster_agreement(*cell_types(rng))
    assert (found.n_clusters, found.n_labels) == (5, 5)
    assert found.ari == found.ami == found.homogeneity == pytest.approx(1.0)
    assert found.n_cells == found.n_cells_used == 400


def test_the_resolution_is_searched_both_ways(rng: np.random.Generator) -> None:
    # one cloud drawn out along a line: it falls into as many stretches as the resolution says
    along = np.sort(rng.uniform(0, 40, 800))
    embedding = np.stack([along, rng.normal(size=800)], axis=1)
    for pieces in (3, 25):
        labels = np.minimum(along * pieces // 40, pieces - 1)
        found = cluster_agreement(embedding, labels)
        assert found.n_clusters == found.n_labels == pieces
        assert (found.resolution < 1) == (pieces == 3)
        assert found.ari > 0.5


def test_the_closest_number_is_kept_where_none_fits() -> None:
    def cluster(resolution: float) -> np.ndarray:
        return np.arange(12) % (4 if resolution < 3 else 9)

    clusters, resolution = clustering._search(cluster, 8)
    assert clusters.max() + 1 == 9
    assert resolution > 3
    assert clustering._search(cluster, 4)[1] == 1.0


def test_shuffled_labels_agree_by_chance_only(rng: np.random.Generator) -> None:
    embedding, labels = cell_types(rng)
    found = cluster_agreement(embedding, rng.permutation(labels))
    assert abs(found.ari) < 0.03
    assert abs(found.ami) < 0.03


def test_seeds_repeat_and_leave_the_global_generator_alone(rng: np.random.Generator) -> None:
    embedding, labels = cell_types(rng, noise=1.2)
    before = random.getstate()
    assert cluster_agreement(embedding, labels, seed=5) == cluster_agreement(
        embedding, labels, seed=5
    )
    assert random.getstate() == before


def test_leiden_numbers_the_largest_cluster_zero(rng: np.random.Generator) -> None:
    embedding, labels = cell_types(rng)
    clusters = leiden(embedding, resolution=0.5)
    sizes = np.bincount(clusters)
    assert (np.diff(sizes) <= 0).all()
    assert adjusted_rand_score(labels, clusters) == pytest.approx(1.0)


def test_a_large_atlas_is_sampled_and_says_so(rng: np.random.Generator) -> None:
    embedding, labels = cell_types(rng)
    found = cluster_agreement(embedding, labels, max_cells=200, seed=1)
    assert (found.n_cells, found.n_cells_used) == (400, 200)
    assert found.ari == pytest.approx(1.0)
    width = cell_type_asw(embedding, labels, max_cells=200, seed=1)
    assert (width.n_cells, width.n_cells_used) == (400, 200)
    assert width.asw == pytest.approx(cell_type_asw(embedding, labels).asw, abs=0.02)


def test_the_graph_has_umaps_weights(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(80, 4)).astype(np.float32)
    weights = _graph.umap_graph(embedding, n_neighbors=15).toarray()
    np.testing.assert_allclose(weights, weights.T, atol=1e-15)
    assert (weights.diagonal() == 0).all()
    away = np.linalg.norm(embedding[:, None] - embedding[None], axis=2)
    np.fill_diagonal(away, np.inf)
    # the nearest neighbour has directed weight 1, and a + b - a b of 1 and anything is 1
    nearest = away.argmin(axis=1)
    np.testing.assert_allclose(weights[np.arange(80), nearest], 1, atol=1e-12)
    assert weights.max() <= 1 + 1e-12
    # every cell keeps its 14 neighbours
    assert ((weights > 0).sum(axis=1) >= 14).all()


def test_directed_weights_sum_to_log2_of_the_neighbours(rng: np.random.Generator) -> None:
    distances = np.sort(rng.gamma(3, size=(50, 14)), axis=1)
    weights = _graph._umap_weights(distances, target=np.log2(15))
    np.testing.assert_allclose(weights.sum(axis=1), np.log2(15), rtol=1e-9)


def test_copies_of_one_cell_make_a_graph_all_the_same() -> None:
    graph = _graph.umap_graph(np.zeros((20, 2), np.float32), n_neighbors=5)
    assert np.isfinite(graph.data).all()
    assert graph.data.min() == graph.data.max() == 1


def test_asw_is_the_silhouette_rescaled(rng: np.random.Generator) -> None:
    embedding, labels = cell_types(rng)
    table = embedding.astype(np.float32)
    for metric in ("euclidean", "correlation"):
        expected = (silhouette_score(table, labels, metric=metric) + 1) / 2
        found = cell_type_asw(embedding, labels, metric=metric)
        # float32 mean of 400 widths
        assert found.asw == pytest.approx(expected, abs=1e-6)


def test_asw_of_two_points_each_is_hand_known() -> None:
    # on a line at 0, 1 and 10, 11: a = 1 for all; b = 10.5 outside, 9.5 inside
    found = cell_type_asw(np.array([[0.0], [1.0], [10.0], [11.0]]), ["a", "a", "b", "b"])
    assert found.asw == pytest.approx((1 + ((1 - 1 / 10.5) + (1 - 1 / 9.5)) / 2) / 2, abs=1e-6)


def test_without_igraph_the_extra_is_named(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "igraph", None)  # what import finds is "not there"
    with pytest.raises(MissingExtraError, match="pip install 'igraph>="):
        cluster_agreement(*cell_types(rng))


def test_wrong_input_is_one_sentence(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(10, 3))
    with pytest.raises(UserInputError, match="n_neighbors of 2 or more"):
        cluster_agreement(embedding, ["a"] * 10, n_neighbors=1)
    with pytest.raises(UserInputError, match="at least 3 cells; got 15 and 2"):
        cluster_agreement(embedding[:2], ["a", "b"])
    with pytest.raises(UserInputError, match="2 labels or more"):
        cell_type_asw(embedding, ["a"] * 10)
    with pytest.raises(UserInputError, match="fewer than cells; got 10 labels on 10 cells"):
        cell_type_asw(embedding, np.arange(10))


def test_results_are_json(rng: np.random.Generator) -> None:
    embedding, labels = cell_types(rng, n=60)
    for found in (cluster_agreement(embedding, labels), cell_type_asw(embedding, labels)):
        told = json.loads(json.dumps(found.as_json(), allow_nan=False))
        assert told["n_labels"] == 5
