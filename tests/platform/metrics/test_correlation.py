"""Correlation of intercept and depth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from atlasbasset.metrics import depth_correlation


def test_matches_scipy(rng: np.random.Generator) -> None:
    depth = rng.integers(1, 5_000, 300)
    intercept = (np.log(depth) + rng.normal(size=300)).astype(np.float32)
    expected = pearsonr(intercept.astype(np.float64), np.log10(depth)).statistic
    assert depth_correlation(intercept, depth) == pytest.approx(expected, abs=1e-12)


def test_logarithm_of_depth_is_perfect() -> None:
    depth = np.array([1, 10, 100, 1000])
    assert depth_correlation(np.array([-3.0, -2.0, -1.0, 0.0]), depth) == pytest.approx(1.0)
    assert depth_correlation(-np.log(depth), depth) == pytest.approx(-1.0)


def test_cells_without_depth_or_intercept_are_left_out() -> None:
    depth = np.array([0, 1, 10, 100, 5])
    intercept = np.array([9.0, 0.0, 1.0, 2.0, np.nan])
    assert depth_correlation(intercept, depth) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("intercept", "depth"), [([1.0], [5]), ([1.0, 1.0], [5, 6]), ([1.0, 2.0], [5, 5]), ([], [])]
)
def test_nothing_to_correlate_is_nan(intercept: list[float], depth: list[int]) -> None:
    assert np.isnan(depth_correlation(np.array(intercept), np.array(depth)))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one number per cell"):
        depth_correlation(np.zeros(3), np.ones(4))
    with pytest.raises(ValueError, match="0 or more; the smallest is -1"):
        depth_correlation(np.zeros(2), np.array([3, -1]))
