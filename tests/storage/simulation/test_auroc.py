from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from atlasstore.simulation.auroc import auroc_rows


def test_known_answers():
    scores = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1], [1, 1, 1, 1], [1, 2, 3, 4]])
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1], [1, 1, 1, 1]], dtype=bool)
    np.testing.assert_array_equal(auroc_rows(scores, labels), [1, 0, 0.5, np.nan])


def test_equals_sklearn_with_ties(rng):
    scores = rng.integers(0, 6, (20, 40)).astype(float)
    labels = rng.random((20, 40)) < 0.3
    expected = [roc_auc_score(y, s) for y, s in zip(labels, scores, strict=True)]
    np.testing.assert_allclose(auroc_rows(scores, labels), expected, rtol=1e-12)
