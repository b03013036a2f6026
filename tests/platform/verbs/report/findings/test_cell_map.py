"""The map of the cells: alike cells lie together, and a seed gives the same map."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.metrics._graph import umap_graph
from atlasbasset.verbs.report.findings.cell_map import umap_of

pytest.importorskip("umap", reason="umap-learn is not installed")

KIND = np.repeat(np.arange(4), 40)


@pytest.fixture(scope="module")
def cells():
    """Four kinds in four directions, of any length: the cosine tells them apart."""
    rng = np.random.default_rng(0)
    found = 5 * np.eye(8)[KIND] + rng.normal(size=(len(KIND), 8)) * 0.7
    return (found * rng.uniform(0.2, 5, (len(KIND), 1))).astype(np.float32)


def share_of_own_kind(plane):
    far = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    nearest = np.argsort(far, axis=1)[:, 1:11]
    return (KIND[nearest] == KIND[:, None]).mean()


def test_alike_cells_lie_together_and_a_seed_gives_the_same_map(cells):
    plane = umap_of(cells, seed=1)
    assert plane.dtype == np.float32
    assert plane.shape == (len(KIND), 2)
    assert share_of_own_kind(plane) > 0.95
    np.testing.assert_array_equal(umap_of(cells, seed=1), plane)
    assert not np.array_equal(umap_of(cells, seed=2), plane)


@pytest.mark.parametrize("n_cells", [1, 2, 3, 4])
def test_few_cells(cells, n_cells):
    plane = umap_of(cells[:n_cells], seed=0)
    assert plane.shape == (n_cells, 2)
    assert np.isfinite(plane).all()


def test_the_graph_is_umaps_own():
    """Its weights, of the same neighbours, by umap-learn's slow functions."""
    from umap.umap_ import compute_membership_strengths, smooth_knn_dist

    x = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    far = 1 - unit @ unit.T
    np.fill_diagonal(far, 0)  # a rounding above 0 would be the nearest neighbour's distance
    cells = np.argsort(far, axis=1)[:, :7]
    distances = np.take_along_axis(far, cells, 1).clip(0).astype(np.float32)
    sigmas, rhos = smooth_knn_dist.py_func(distances, 7.0)
    rows, columns, weights, _ = compute_membership_strengths.py_func(
        cells.astype(np.int32), distances, sigmas, rhos
    )
    directed = np.zeros((30, 30))
    directed[rows, columns] = weights
    expected = directed + directed.T - directed * directed.T
    np.testing.assert_allclose(
        umap_graph(x, n_neighbors=7, metric="cosine").toarray(), expected, atol=1e-4
    )
