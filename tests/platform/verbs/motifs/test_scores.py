from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from atlasbasset.verbs.motifs.scores import Moments, _combined, linear_moments


@settings(max_examples=50, deadline=None)
@given(
    arrays(
        np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-8, 8, width=32)
    ),
    arrays(np.float64, (5, 3), elements=st.floats(-8, 8)),
)
def test_linear_moments_are_those_of_the_product(embedding, effects):
    found = linear_moments(embedding, effects)
    raw = embedding.astype(np.float64) @ effects.T
    np.testing.assert_allclose(found.mean, raw.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.sd, raw.std(axis=0), rtol=1e-5, atol=1e-3)


def test_moments_do_not_lose_a_small_spread_far_from_zero(rng):
    embedding = (1000 + rng.normal(size=(5000, 4))).astype(np.float32)
    effects = rng.normal(size=(6, 4))
    raw = embedding.astype(np.float64) @ effects.T
    found = linear_moments(embedding, effects)
    np.testing.assert_allclose(found.sd, raw.std(axis=0), rtol=1e-9)


def test_what_does_not_vary_has_no_spread():
    embedding = np.full((7, 3), 0.1, np.float32)
    found = linear_moments(embedding, np.array([[1.0, 2.0, 3.0], [0, 0, 0]]))
    np.testing.assert_array_equal(found.sd, 0)
    np.testing.assert_array_equal(found.weight, 0)


def test_weights_are_one_over_sd():
    moments = Moments(np.zeros(3), np.array([2.0, 0.0, 0.5]))
    np.testing.assert_array_equal(moments.weight, [0.5, 0, 2])


@pytest.mark.parametrize("cuts", [[], [1], [10, 11], [3, 50, 99]])
def test_moments_of_pieces_are_those_of_the_whole(cuts, rng):
    values = 5 + rng.normal(size=(100, 4))
    mean, variance = _combined(np.split(values, cuts), 4)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(variance, values.var(axis=0), rtol=1e-12)
