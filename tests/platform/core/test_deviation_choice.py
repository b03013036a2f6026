"""The choice of how strongly cells and peaks are held: by peaks that no solve has seen."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.special import expit

from atlasbasset.core.deviation_choice import Weights, _loss, neighbour_losses

E, P, N, TYPES = 4, 200, 150, 5
FREE, FIXED = Weights(3.0, 3.0), Weights(3.0, 1e6)


def planted(*, says: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells of five types; the peaks' sequences say what they are, or nothing at all."""
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 1.5, (TYPES, E))[np.arange(N) % TYPES]
    x = rng.normal(size=(P, E))
    labels = rng.random((P, N)) < expit(x @ w.T - 1.5)
    h = x if says else rng.normal(size=(P, E))
    return torch.from_numpy(h).float(), torch.from_numpy(labels.astype(np.uint8))


def losses(h, labels, candidates, rounds=2):
    rng = np.random.default_rng(1)
    return neighbour_losses(h, labels, candidates, rounds=rounds, rng=rng).numpy()


def test_peaks_of_which_sequences_say_nothing_are_set_free():
    found = losses(*planted(says=False), [FREE, FIXED])
    assert found.shape == (2, 3)
    assert found[0, 0] == found[1, 0]
    assert found[0, 1:].max() < found[0, 0] - 0.01
    np.testing.assert_allclose(found[1, 1:], found[1, 0], atol=1e-3)


def test_too_much_freedom_is_seen():
    """Five types in 3 of 16 dimensions, few open pairs, sequences that are nearly right."""
    rng = np.random.default_rng(1)
    w = np.zeros((N, 16))
    w[:, :3] = rng.normal(0, 1.5, (TYPES, 3))[np.arange(N) % TYPES]
    x = rng.normal(size=(P, 16))
    labels = torch.from_numpy((rng.random((P, N)) < expit(x @ w.T - 3)).astype(np.uint8))
    h = torch.from_numpy(x + rng.normal(0, 0.7, x.shape)).float()
    found = losses(h, labels, [Weights(3.0, weight) for weight in (0.01, 3.0, 1e6)], rounds=1)
    assert found[1, 1] < min(found[0, 1], found[2, 1]) - 0.001


def test_each_candidate_is_judged_by_itself():
    h, labels = planted(says=True)
    both = losses(h, labels, [FREE, FIXED])
    np.testing.assert_array_equal(losses(h, labels, [FIXED]), both[1:])


def test_a_cell_is_predicted_by_its_nearest_fifteen_and_not_by_itself():
    rng = np.random.default_rng(2)
    w, labels = rng.normal(size=(40, 3)), (rng.random((6, 40)) < 0.3).astype(float)
    depth = rng.integers(5, 30, 40).astype(float)
    labels[3] = 0  # open nowhere
    expected = []
    for cell, apart in enumerate(cdist(w, w)):
        apart[cell] = np.inf
        near = np.argsort(apart)[:15]
        opened = labels[:, near].sum(1) + 5 * labels.mean(1)
        rate = depth[cell] * opened / (depth[near].sum() + 5 * depth.mean())
        y, rate = labels[:, cell], np.clip(rate, 1e-6, 0.95)
        expected.append(-(y * np.log(rate) + (1 - y) * np.log(1 - rate)).mean())
    given = (torch.from_numpy(values).float() for values in (labels, depth, w))
    np.testing.assert_allclose(_loss(*given), np.mean(expected), rtol=1e-5)


def test_few_cells():
    h, labels = planted(says=True)
    assert np.isfinite(losses(h[:2], labels[:2, :2], [FREE])).all()
