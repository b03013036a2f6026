from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from atlasbasset.core.config import TrunkConfig
from atlasbasset.weights import check_weights
from atlasbasset.weights.published import as_floats
from atlasstore.errors import UserInputError
from small_model import random_weights

N = 4


@pytest.fixture(scope="module")
def weights():
    return random_weights(np.random.default_rng(3), N, config=TrunkConfig(), n_batches=2)


def test_what_fits_is_taken(weights):
    check_weights(weights, "w.h5")
    check_weights(replace(weights, batch=None), "w.h5")
    assert weights.trunk_config() == TrunkConfig()


def with_trunk(weights, **changed):
    return replace(weights, trunk=weights.trunk | changed)


def nan_in(values):
    changed = values.copy()
    changed.flat[-1] = np.nan
    return changed


DAMAGE = {
    "tower.2.norm.beta is of shape (9,), where (363,)": lambda w: with_trunk(
        w, **{"tower.2.norm.beta": np.zeros(9, np.float32)}
    ),
    "tower.0.weight is of shape (288, 288, 3), where (288, 288, 5)": lambda w: with_trunk(
        w, **{"tower.0.weight": w.trunk["tower.0.weight"][..., :3]}
    ),
    "prebottleneck.norm.gamma is absent": lambda w: replace(
        w, trunk={k: v for k, v in w.trunk.items() if k != "prebottleneck.norm.gamma"}
    ),
    "the published architecture has no bottleneck.readout_offset": lambda w: with_trunk(
        w, **{"bottleneck.readout_offset": np.zeros(32, np.float32)}
    ),
    "embedding is of shape (4, 31), where (4, 32)": lambda w: replace(
        w, embedding=w.embedding[:, :31]
    ),
    "embedding is of shape (0, 32)": lambda w: replace(
        w, embedding=w.embedding[:0], intercept=w.intercept[:0]
    ),
    "batch_intercept is of shape (1,)": lambda w: replace(w, batch_intercept=w.batch_intercept[:1]),
    "stem.weight holds values that are not finite": lambda w: with_trunk(
        w, **{"stem.weight": nan_in(w.trunk["stem.weight"])}
    ),
    "intercept holds values that are not finite": lambda w: replace(
        w, intercept=nan_in(w.intercept)
    ),
    "stem.norm.running_var holds values that are not finite, or negative": lambda w: with_trunk(
        w, **{"stem.norm.running_var": -w.trunk["stem.norm.running_var"]}
    ),
    "the batches of 4 cells are not codes from 0 to 1": lambda w: replace(
        w, batch=np.array([0, 1, 2, 0])
    ),
    "the batches of 3 cells": lambda w: replace(w, batch=np.array([0, 1, 1])),
    "3 names of 2 batches": lambda w: replace(w, batches=("a", "b", "c")),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_what_does_not_fit_is_named(weights, message):
    with pytest.raises(UserInputError) as caught:
        check_weights(DAMAGE[message](weights), "w.h5")
    assert str(caught.value).startswith("w.h5: ")
    assert message in str(caught.value)


def test_numbers_only():
    kept = as_floats(np.array([1, 2]), 1, name="a", path="w")
    assert (kept.dtype, list(kept)) == (np.float32, [1, 2])
    assert np.isinf(as_floats(np.array([1e300]), 1, name="a", path="w"))  # refused as not finite
    for values in (np.ones((2, 2)), np.array(["x"]), np.array([1j])):
        with pytest.raises(UserInputError, match="where 1 axes of numbers are needed"):
            as_floats(values, 1, name="a", path="w")
