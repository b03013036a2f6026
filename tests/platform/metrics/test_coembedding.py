from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import rankdata, zscore
from sklearn.preprocessing import normalize

from atlasbasset.metrics.coembedding import co_embed, paired_ranks
from atlasstore.errors import UserInputError


def test_ranks_are_scipys(rng):
    a, b = rng.integers(0, 3, (2, 40, 2)).astype(float)  # many ties
    distances = cdist(a, b)
    one = np.diag(rankdata(distances, axis=1))
    other = np.diag(rankdata(distances, axis=0))
    found = paired_ranks(a, b)
    expected = (one + other) / 2
    assert found.mean == pytest.approx(expected.mean())
    assert found.median == pytest.approx(np.median(expected))
    assert found.share_nearer == pytest.approx((expected.mean() - 1) / 39)


def test_ranks_by_chance_and_of_equal_embeddings(rng):
    a, b = rng.normal(size=(2, 600, 5))
    assert paired_ranks(a, a).mean == 1
    by_chance = paired_ranks(a, b)
    assert by_chance.share_nearer == pytest.approx(0.5, abs=0.05)
    assert by_chance.as_json()["chance"] == 300.5


def test_ranks_need_the_same_cells(rng):
    with pytest.raises(UserInputError, match="the same cells"):
        paired_ranks(rng.normal(size=(4, 2)), rng.normal(size=(5, 2)))


def test_the_space_is_the_svd_of_standardised_tables(rng):
    shared = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 60))
    a, b = (shared + rng.normal(size=(50, 60)) for _ in range(2))
    x, y = (zscore(zscore(table, axis=0), axis=1) for table in (a, b))
    u, _, v = np.linalg.svd(x @ y.T)
    expected = cdist(normalize(u[:, :5]), normalize(v[:5].T))
    np.testing.assert_allclose(cdist(*co_embed(a, b, dim=5)), expected, atol=1e-8)


def test_pairs_that_share_structure_come_near(rng):
    shared = rng.normal(size=(200, 5)) @ rng.normal(size=(5, 80))
    noisy = [shared + rng.normal(size=(200, 80)) for _ in range(2)]
    assert paired_ranks(*co_embed(*noisy, dim=5)).share_nearer < 0.1
    shuffled = noisy[1][rng.permutation(200)]
    assert paired_ranks(*co_embed(noisy[0], shuffled, dim=5)).share_nearer > 0.4


def test_few_genes_give_few_components(rng):
    a, b = rng.normal(size=(2, 30, 4))
    assert [table.shape for table in co_embed(a, b)] == [(30, 3), (30, 3)]
