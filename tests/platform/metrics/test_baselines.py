"""Baselines against scikit-learn on dense tables, plain numpy, and planted types."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from atlasbasset.metrics import label_score
from atlasbasset.metrics.baselines import (
    baselines,
    logistic_factorisation,
    lsi,
    lsi_variants,
    pca,
    unit_rows,
)


@pytest.fixture
def types(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 3, 90)


@pytest.fixture
def labels(rng: np.random.Generator, types: np.ndarray) -> sp.csr_array:
    """Counts of cells whose types have peaks of their own."""
    rates = np.full((3, 240), 0.1)
    for t in range(3):
        rates[t, 60 * t : 60 * t + 60] = 0.5
    return sp.csr_array(rng.poisson(rates[types]))


def same_up_to_signs(found: np.ndarray, expected: np.ndarray) -> None:
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, atol=2e-4 * np.abs(expected).max())


def test_pca_is_that_of_the_dense_table(labels: sp.csr_array) -> None:
    expected = PCA(4, svd_solver="full").fit_transform((labels.toarray() > 0).astype(float))
    same_up_to_signs(pca(labels, dim=4), expected)


def test_lsi_is_the_svd_of_log_tf_idf(labels: sp.csr_array) -> None:
    is_open = (labels.toarray() > 0).astype(float)
    frequency = is_open / is_open.sum(1, keepdims=True)
    weight = np.log((len(is_open) + 1) / (is_open.sum(0) + 1)) + 1
    u, s, _ = np.linalg.svd(np.log1p(frequency * weight * 1e4), full_matrices=False)
    same_up_to_signs(lsi(labels, dim=3), u[:, :3] * s[:3])


def test_variants_of_lsi(rng: np.random.Generator) -> None:
    table = rng.normal(size=(20, 16)).astype(np.float32)
    table[3] = 0
    found = lsi_variants(table)
    np.testing.assert_array_equal(found["LSI less 1"], table[:, 1:])
    assert found["LSI 2-12, unit"].shape == (20, 11)
    norms = np.linalg.norm(found["LSI less 1, unit"], axis=1)
    np.testing.assert_allclose(np.delete(norms, 3), 1, rtol=1e-6)
    assert norms[3] == 0


def test_factorisation_gives_scikit_learns_cells(labels: sp.csr_array) -> None:
    """The peaks of one round are scikit-learn's on the start, its cells theirs on those peaks."""
    found = logistic_factorisation(labels, dim=3, l2=2.0, rounds=1)
    is_open = labels.toarray() > 0
    start = pca(labels, dim=3)
    start = start / start.std()
    share = (is_open.sum(1) + 0.5) / (is_open.shape[1] + 1)
    offset = np.log(share / (1 - share))
    h = np.stack([_peak(start, offset, is_open[:, p], l2=2.0) for p in range(is_open.shape[1])])
    expected = [LogisticRegression(C=0.5, tol=1e-10).fit(h, row) for row in is_open]
    np.testing.assert_allclose(
        found.embedding.numpy(), np.concatenate([e.coef_ for e in expected]), atol=2e-3
    )
    assert found.converged.all()


def _peak(w: np.ndarray, offset: np.ndarray, is_open: np.ndarray, *, l2: float) -> np.ndarray:
    """Solve one peak by plain Newton steps in float64."""
    x = np.zeros(w.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(w @ x + offset)))
        hessian = (w * (p * (1 - p))[:, None]).T @ w + l2 * np.eye(len(x))
        x -= np.linalg.solve(hessian, w.T @ (p - is_open) + l2 * x)
    return x


def test_every_baseline_tells_planted_types(labels: sp.csr_array, types: np.ndarray) -> None:
    found = dict(baselines(labels, dim=8))
    assert len(found) == 6
    for name, table in found.items():
        assert table.dtype == np.float32
        assert label_score(table, types, ks=(10,)).mean[10] > 0.8, name


def test_counts_and_labels_give_the_same(labels: sp.csr_array) -> None:
    for (_, counted), (_, binary) in zip(
        baselines(labels, dim=4), baselines(labels != 0, dim=4), strict=True
    ):
        np.testing.assert_array_equal(counted, binary)


def test_fewer_cells_than_dimensions(rng: np.random.Generator) -> None:
    labels = sp.csr_array(rng.random((6, 40)) < 0.3)
    assert pca(labels).shape == lsi(labels).shape == (6, 5)
    assert logistic_factorisation(labels).embedding.shape == (6, 5)


def test_unit_rows_keeps_float32() -> None:
    assert unit_rows(np.ones((2, 3), np.float32)).dtype == np.float32
