"""Batch mixing on constructed cases with known answers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import chisquare

from atlasbasset.metrics import ilisi, kbet, mixing
from atlasbasset.metrics._knn import nearest
from atlasstore.errors import UserInputError


def two_islands(rng: np.random.Generator, n: int) -> np.ndarray:
    embedding = rng.normal(size=(2 * n, 4))
    embedding[n:] += 100
    return embedding


def test_separate_batches_do_not_mix(rng: np.random.Generator) -> None:
    embedding, batches = two_islands(rng, 150), np.repeat(["a", "b"], 150)
    assert ilisi(embedding, batches).mean == pytest.approx(1.0, abs=1e-12)
    assert kbet(embedding, batches).acceptance == 0.0


def test_random_batches_mix(rng: np.random.Generator) -> None:
    embedding, batches = rng.normal(size=(2_000, 4)), rng.integers(0, 2, 2_000)
    # of two fair batches the expected Simpson index is (1 + sum of squared weights) / 2
    near = nearest(embedding.astype(np.float32), np.arange(2_000), k=90).distances
    squares = (mixing._perplexity_weights(near, 30.0) ** 2).sum(axis=1)
    found = ilisi(embedding, batches)
    assert found.mean == pytest.approx((2 / (1 + squares)).mean(), abs=0.02)
    assert 1.8 < found.mean < found.median < 2
    # counts are whole numbers, so the level is only near 5 %
    assert kbet(embedding, batches).acceptance == pytest.approx(0.95, abs=0.03)


def test_mixing_falls_as_batches_drift_apart(rng: np.random.Generator) -> None:
    cells, batches = rng.normal(size=(600, 4)), rng.integers(0, 3, 600)
    apart = [cells + shift * batches[:, None] for shift in (0.0, 0.5, 2.0)]
    lisi = [ilisi(embedding, batches).mean for embedding in apart]
    accepted = [kbet(embedding, batches).acceptance for embedding in apart]
    assert lisi == sorted(lisi, reverse=True)
    assert accepted == sorted(accepted, reverse=True)
    assert lisi[0] - lisi[-1] > 1
    assert accepted[0] - accepted[-1] > 0.5


def test_ilisi_of_equally_far_neighbours_is_the_inverse_simpson_index() -> None:
    # the corners of a simplex: all distances equal, so all weights are
    batches = np.array(["a"] * 5 + ["b"] * 3)
    found = ilisi(np.eye(8), batches, perplexity=2)
    assert found.n_neighbors == 6  # any 6 of the 7 others
    found = ilisi(np.eye(8), batches, perplexity=30)
    assert (found.n_neighbors, found.perplexity) == (7, pytest.approx(7 / 3))
    around_a, around_b = 49 / (4**2 + 3**2), 49 / (5**2 + 2**2)
    assert found.mean == pytest.approx((5 * around_a + 3 * around_b) / 8, abs=1e-12)
    assert found.median == pytest.approx(around_a, abs=1e-12)


def test_weights_have_the_entropy_asked(rng: np.random.Generator) -> None:
    distances = np.sort(rng.gamma(3, size=(40, 90)), axis=1) * rng.gamma(2, size=(40, 1))
    weights = mixing._perplexity_weights(distances, 30.0)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    entropy = -(weights * np.log(weights)).sum(axis=1)
    # the search stops within 1e-5, as the published code does
    np.testing.assert_allclose(entropy, np.log(30), atol=1.1e-5)
    assert (np.diff(weights, axis=1) <= 0).all()
    # and they are exp(-beta d) for one beta per row: log weights are linear in distance
    slope = np.diff(np.log(weights)) / np.diff(distances)
    np.testing.assert_allclose(slope, slope[:, :1] * np.ones_like(slope), rtol=1e-6)


def test_kbet_is_the_chi_square_test_of_each_neighbourhood(rng: np.random.Generator) -> None:
    embedding = rng.normal(size=(60, 3)).astype(np.float32)
    batches = rng.choice(3, 60, p=[0.6, 0.3, 0.1])
    away = np.linalg.norm(embedding[:, None] - embedding[None], axis=2)
    np.fill_diagonal(away, np.inf)
    share = np.bincount(batches) / 60
    accepted = [
        chisquare(np.bincount(batches[row], minlength=3), share * 20).pvalue >= 0.3
        for row in np.argsort(away, axis=1)[:, :20]
    ]
    found = kbet(embedding, batches, k=20, alpha=0.3)
    assert 0 < found.acceptance < 1
    assert found.acceptance == np.mean(accepted)
    assert found.smallest_expected == pytest.approx(20 * share.min())


def test_a_sample_is_said(rng: np.random.Generator) -> None:
    embedding, batches = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    for measure in (ilisi, kbet):
        found = measure(embedding, batches, n_queries=50, seed=1)
        assert (found.n_cells, found.n_queries) == (200, 50)
        assert json.loads(json.dumps(found.as_json(), allow_nan=False))["n_batches"] == 2


def test_wrong_input_is_one_sentence(rng: np.random.Generator) -> None:
    embedding, batches = rng.normal(size=(30, 3)), np.repeat([0, 1], 15)
    with pytest.raises(UserInputError, match="two batches or more; every cell is of 'x'"):
        ilisi(embedding, ["x"] * 30)
    with pytest.raises(UserInputError, match=r"below the number of cells \(30\).* got k = 30"):
        kbet(embedding, batches, k=30)
    with pytest.raises(UserInputError, match="alpha between 0 and 1"):
        kbet(embedding, batches, k=5, alpha=1.0)
    with pytest.raises(UserInputError, match="perplexity of 1 or more"):
        ilisi(embedding, batches, perplexity=0.5)
