from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.spatial.distance import pdist
from sklearn.decomposition import PCA

from atlasbasset.metrics.expression import (
    are_counts,
    expression_components,
    log_normalised,
    most_variable,
)


@pytest.fixture
def counts(rng):
    return sp.csr_array(rng.poisson(rng.gamma(1, 1, (1, 30)), (40, 30)).astype(np.float32))


def test_counts_are_normalised_and_other_values_taken_as_they_are(counts):
    dense = counts.toarray().astype(float)
    expected = np.log1p(dense / dense.sum(1, keepdims=True) * 1e4)
    np.testing.assert_allclose(log_normalised(counts).toarray(), expected, rtol=1e-12)
    logged = sp.csr_array(np.log1p(dense))
    assert not are_counts(logged)
    np.testing.assert_array_equal(log_normalised(logged).toarray(), np.log1p(dense))


def test_a_cell_without_counts_stays_empty(counts):
    emptied = counts.toarray()
    emptied[3] = 0
    assert log_normalised(sp.csr_array(emptied)).toarray()[3].sum() == 0


def test_genes_of_the_largest_variance(counts):
    values = log_normalised(counts)
    expected = np.sort(np.argsort(values.toarray().var(0))[-7:])
    np.testing.assert_array_equal(most_variable(values, n=7), expected)


def test_components_are_scikit_learns(counts):
    values = log_normalised(counts)
    expected = PCA(5, svd_solver="full").fit_transform(values.toarray())
    found = expression_components(values, n_components=5)
    np.testing.assert_allclose(pdist(found), pdist(expected), rtol=1e-4)


def test_three_genes_have_three_components(counts):
    assert expression_components(sp.csr_array(counts[:, :3])).shape == (40, 3)
