"""The maps between rows and points of tiles, against sums written plainly, and as adjoints."""

import numpy as np
import pytest

from atlasbasset.core._tiles_cpu import from_points, mix_rows, to_points

STEP = 4
SHAPES = [(1, 1, 1), (2, 13, 3), (3, 16, 17), (2, 50, 32)]  # (B, L, C)


def drawn(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def plain_points(x, matrix, lead):
    """The tiles of each sequence, one at a time, from a padded copy in float64."""
    batch, length, _ = x.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (lead, 2 * matrix.shape[1]), (0, 0)))
    firsts = range(0, length, STEP)
    tiles = [padded[b, t : t + matrix.shape[1]] for b in range(batch) for t in firsts]
    return np.stack([matrix @ tile for tile in tiles], axis=1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rows", "lead"), [(4, 0), (8, 2)])
def test_points_are_those_of_each_tile(shape, rows, lead):
    x, matrix = drawn(shape), drawn((8, rows), seed=1)
    expected = plain_points(x, matrix, lead)
    found = np.full(expected.shape, np.nan, np.float32)
    to_points(x, matrix, step=STEP, lead=lead, out=found)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("rows", "lead"), [(4, 0), (8, 2)])
def test_rows_are_the_adjoint_of_points(shape, rows, lead):
    x, matrix = drawn(shape), drawn((8, rows), seed=1)
    points = plain_points(x, matrix, lead)
    given = drawn(points.shape, seed=2)
    found = np.full(shape, np.nan, np.float32)
    from_points(given, np.ascontiguousarray(matrix.T), step=STEP, lead=lead, out=found)
    np.testing.assert_allclose((found * x).sum(), (given * points).sum(), rtol=1e-4, atol=1e-3)
    for row in range(0, shape[1], 5):  # and row by row: the gradient of one row alone
        one = np.zeros(shape, np.float32)
        one[-1, row] = 1
        expected = (given * plain_points(one, matrix, lead)).sum((0, 1))
        np.testing.assert_allclose(found[-1, row], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [1, 1023, 1024, 2500])
def test_mixed_rows_are_summed_in_float64(columns):
    matrix, rows = drawn((8, 5), seed=1).astype(np.float64), drawn((5, columns)) * 1e6
    rows[1] = -rows[0]
    matrix[:, 1] = matrix[:, 0] * (1 + 1e-9)
    found = np.full((8, columns), np.nan, np.float32)
    mix_rows(matrix, rows, out=found)
    np.testing.assert_array_equal(found, np.einsum("pk,kc->pc", matrix, rows).astype(np.float32))
