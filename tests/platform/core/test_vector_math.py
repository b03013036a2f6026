"""The kernels' functions against float64, and their product against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from atlasbasset.core import _vector_math
from atlasbasset.core._vector_math import BLOCK_COLUMNS, BLOCK_ROWS, multiply

X = np.float32(np.linspace(-87, 87, 200_001))
FRACTION = np.float32(np.r_[np.linspace(0, 1, 200_001), np.geomspace(1e-38, 1, 10_001)])


@njit
def exp_of(values):
    return np.array([_vector_math.exp(x) for x in values])


@njit
def log1p_of(values):
    return np.array([_vector_math.log1p(x) for x in values])


def test_exp_to_a_few_roundings():
    exact = np.exp(X.astype(np.float64))
    assert np.abs(exp_of(X) / exact - 1).max() < 3e-7


def test_log1p_to_a_few_roundings():
    """Relative: also where 1 + x is 1."""
    x = FRACTION[FRACTION > 0]
    assert np.abs(log1p_of(x) / np.log1p(x.astype(np.float64)) - 1).max() < 2e-7
    assert log1p_of(np.zeros(1, np.float32)) == 0


def test_exp_is_clipped_and_keeps_nan():
    below, above, nan = exp_of(np.float32([-1000, 1000, np.nan]))
    assert 0 < below < 1e-37
    assert 1e37 < above < np.inf
    assert np.isnan(nan)


@pytest.mark.parametrize("blocks", [(1, 1), (3, 2)])
@pytest.mark.parametrize("depth", [0, 1, 33])
@pytest.mark.parametrize("transposed", [False, True])
def test_multiply_equals_numpy(blocks, depth, transposed):
    rng = np.random.default_rng(0)
    rows, columns = blocks[0] * BLOCK_ROWS, blocks[1] * BLOCK_COLUMNS
    left = rng.standard_normal((depth, rows) if transposed else (rows, depth), np.float32)
    left = left.T if transposed else left
    right = rng.standard_normal((depth, columns), np.float32)
    guarded = np.full((rows + 2, columns + 2), 7, np.float32)
    out, expected = guarded[1:-1, 1:-1], left.astype(np.float64) @ right
    multiply(out, left, right, False)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    multiply(out, left, right, True)
    np.testing.assert_allclose(out, 2 * expected, atol=2e-5)
    guarded[1:-1, 1:-1] = 7
    assert (guarded == 7).all()
