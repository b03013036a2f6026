"""Measures from factors against those of the whole table of profiles, in float64."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score

from atlasbasset.metrics import cell_type_asw
from atlasbasset.metrics.profiles import profile_components, profile_directions


@pytest.fixture
def factors(rng):
    types = rng.integers(0, 3, 80)
    embedding = rng.normal(size=(80, 6)) + 1.5 * rng.normal(size=(3, 6))[types]
    h = rng.normal(0.3, 1, (300, 6)) @ rng.normal(size=(6, 6))
    return embedding.astype(np.float32), h.astype(np.float32), types


def whole(factors):
    embedding, h, _ = factors
    return embedding.astype(np.float64) @ h.astype(np.float64).T


@pytest.mark.parametrize("n_components", [50, 3])
def test_components_are_those_of_the_whole_table(factors, n_components):
    found = profile_components(*factors[:2], n_components=n_components)
    expected = PCA(min(n_components, 6), svd_solver="full").fit_transform(whole(factors))
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4 * np.abs(expected).max())


def test_cosines_are_correlations_of_profiles(factors):
    directions = profile_directions(*factors[:2])
    expected = pdist(whole(factors), "correlation")
    np.testing.assert_allclose(pdist(directions.astype(float), "cosine"), expected, atol=1e-6)


def test_silhouette_is_that_of_one_less_pearson(factors):
    found = cell_type_asw(profile_directions(*factors[:2]), factors[2], metric="cosine")
    expected = silhouette_score(whole(factors), factors[2], metric="correlation")
    assert found.asw == pytest.approx((expected + 1) / 2, abs=1e-6)


def test_fewer_peaks_than_numbers_are_no_trouble(rng):
    embedding, h = rng.normal(size=(20, 6)), rng.normal(size=(2, 6))
    found = profile_components(embedding, h)
    np.testing.assert_allclose(pdist(found), pdist(embedding @ h.T), atol=1e-5)
