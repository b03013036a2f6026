"""Variances held towards a prior: its parameters are found again, and what is alike stays alike."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.verbs.differential.moderation import moderate


@pytest.mark.parametrize("prior", [4.0, 20.0])
def test_the_prior_that_variances_were_drawn_from_is_found(rng, prior) -> None:
    n, own, free = 4000, 2.5, 11.0
    true = prior * own / rng.chisquare(prior, n)
    found = moderate(true * rng.chisquare(free, n) / free, np.full(n, free))
    assert found.freedom[0] - free == pytest.approx(prior, rel=0.25)
    wanted = (prior * own + free * true) / (prior + free)
    assert found.variance.mean() == pytest.approx(wanted.mean(), rel=0.1)


def test_moderated_variances_are_nearer_to_the_truth(rng) -> None:
    true = 8 * 1.0 / rng.chisquare(8, 500)
    drawn = true * rng.chisquare(4, 500) / 4
    found = moderate(drawn, np.full(500, 4.0)).variance
    assert np.abs(np.log(found / true)).mean() < 0.7 * np.abs(np.log(drawn / true)).mean()


def test_variances_that_differ_by_chance_alone_become_one(rng) -> None:
    found = moderate(np.full(20, 3.0), np.full(20, 10.0))
    assert found.variance == pytest.approx(found.variance[0], rel=1e-4)
    assert found.freedom[0] > 1000


def test_two_samples_stay_as_they_are() -> None:
    found = moderate(np.array([1.0, 4.0]), np.array([5.0, 5.0]))
    assert found.variance.tolist() == [1.0, 4.0]
    assert found.freedom.tolist() == [5.0, 5.0]
