from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from atlasbasset.metrics.mean_baselines import _halves, depth_floor, group_oracle, log_odds


@pytest.fixture
def planted(rng):
    groups = rng.integers(0, 3, 240)
    share = rng.beta(0.5, 2, (80, 3))
    probability = share[:, groups] * rng.uniform(0.5, 1, 240)
    return rng.random((80, 240)) < probability, groups, probability


def test_each_half_is_predicted_by_the_other(planted):
    labels, groups, _ = planted
    depth = np.linspace(-1, 1, 240)
    found = group_oracle(sp.csr_array(labels), groups, depth)
    half = _halves(groups, seed=0)
    scores = np.empty(labels.shape)
    for c in range(240):
        others = np.flatnonzero((groups == groups[c]) & (half != half[c]))
        n_open = labels[:, others].sum(1)
        scores[:, c] = np.log((n_open + 0.5) / (len(others) - n_open + 0.5)) + depth[c]
    per_cell = [roc_auc_score(labels[:, c], scores[:, c]) for c in range(240)]
    np.testing.assert_allclose(found.auroc_per_cell, per_cell, atol=1e-3)
    per_peak = [
        np.mean([roc_auc_score(row[half == h], s[half == h]) for h in (0, 1)])
        if 0 < row[half == 0].sum() < 120 and 0 < row[half == 1].sum() < 120
        else np.nan
        for row, s in zip(labels, scores, strict=True)
    ]
    known = ~np.isnan(per_peak)
    np.testing.assert_allclose(found.auroc_per_peak[known], np.array(per_peak)[known], atol=1e-3)


def test_the_oracle_is_near_what_the_truth_gives_and_no_better(planted):
    labels, groups, probability = planted
    depth = log_odds(labels.sum(0), 80)
    found = group_oracle(sp.csr_array(labels), groups, depth)
    truth = np.mean([roc_auc_score(labels[:, c], probability[:, c]) for c in range(240)])
    assert truth - 0.03 < found.mean_auroc_per_cell < truth + 0.01
    alone = group_oracle(sp.csr_array(labels), np.zeros(240, int), depth)
    assert alone.mean_auroc_per_cell < found.mean_auroc_per_cell - 0.03


def test_a_group_that_says_nothing_gives_nothing_per_peak(rng):
    """A cell that predicted itself would give more, one left out of its mean alone less."""
    labels = rng.random((300, 60)) < 0.3
    groups = np.arange(60) // 4
    found = group_oracle(sp.csr_array(labels), groups, np.zeros(60))
    assert found.mean_auroc_per_peak == pytest.approx(0.5, abs=0.02)


def test_depth_alone(planted):
    labels, _, _ = planted
    depth = log_odds(labels[:40].sum(0), 40)
    found = depth_floor(sp.csr_array(labels[40:]), depth)
    assert found.mean_auroc_per_cell == 0.5
    expected = [roc_auc_score(row, depth) for row in labels[40:] if 0 < row.sum() < 240]
    assert found.mean_auroc_per_peak == pytest.approx(np.mean(expected), abs=1e-6)
