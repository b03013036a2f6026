"""The maps between rows and points of tiles, against sums written plainly, and as adjoints."""

import numpy as np
import pytest

from atlasbasset.core._tiles_cpu import from_points, points_weight, to_points, weight_points

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


@pytest.mark.parametrize(("filters", "padded"), [(1, 1), (3, 16), (16, 16), (37, 48)])
def test_weights_are_mapped_in_float64_and_padded(filters, padded):
    matrix, weight = drawn((8, 5), seed=1).astype(np.float64), drawn((filters, 3, 5)) * 1e6
    weight[..., 1] = -weight[..., 0]
    matrix[:, 1] = matrix[:, 0] * (1 + 1e-9)
    found = np.full((8, 4, padded), np.nan, np.float32)
    weight_points(matrix, weight, out=found)
    expected = np.einsum("pk,fck->pcf", matrix, weight).astype(np.float32)
    np.testing.assert_array_equal(found[:, :3, :filters], expected)
    assert not found[:, 3].any()
    assert not found[..., filters:].any()


@pytest.mark.parametrize(("filters", "padded"), [(1, 1), (3, 16), (16, 16), (37, 48)])
def test_weights_come_back_in_float64_without_padding(filters, padded):
    matrix, points = drawn((5, 8), seed=1).astype(np.float64), drawn((8, 4, padded)) * 1e6
    points[1] = -points[0]
    matrix[:, 1] = matrix[:, 0] * (1 + 1e-9)
    found = np.full((filters, 3, 5), np.nan, np.float32)
    points_weight(matrix, points, out=found)
    expected = np.einsum("kp,pcf->fck", matrix, points[:, :3, :filters]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)
