from __future__ import annotations

import numpy as np
from scipy.stats import false_discovery_control

from atlasbasset.verbs.match.q_values import QValues


def test_the_same_as_scipy_however_they_are_added(rng):
    p = rng.integers(1, 400, (1000, 3)) / 401
    p[:50, 1] = 1 / 401
    p[500:, 2] = rng.random(500)
    q_values = QValues(3)
    for start, stop in ((0, 7), (7, 7), (7, 800), (800, 1000)):
        q_values.add(p[start:stop])
    for group in range(3):
        expected = false_discovery_control(p[:, group])
        np.testing.assert_allclose(q_values.q(p[:, group], group), expected, rtol=1e-12)
        assert (
            q_values.q(p[3:5, group], group).tolist()
            == q_values.q(p[:, group], group)[3:5].tolist()
        )


def test_nothing_is_fine():
    q_values = QValues(1)
    q_values.add(np.empty((0, 1)))
    assert q_values.q(np.empty(0), 0).shape == (0,)
