"""How strongly peaks are held, and whether they deviate: by peaks that no solve has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import expit

from atlasbasset.core.deviation_choice import (
    FOLDS,
    Weights,
    _loss,
    chosen,
    held_out_folds,
    neighbour_losses,
    noise_norm,
)

E, P, N, TYPES = 4, 200, 150, 5


def planted(*, says: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells of five types; the peaks' sequences say what they are, or nothing at all."""
    rng = np.random.default_rng(seed)
    w = rng.normal(0, 1.5, (TYPES, E))[np.arange(N) % TYPES]
    x = rng.normal(size=(P, E))
    labels = rng.random((P, N)) < expit(x @ w.T - 1.5)
    h = x if says else rng.normal(size=(P, E))
    return torch.from_numpy(h).float(), torch.from_numpy(labels.astype(np.uint8))


def losses(h, labels, weight, *, plain_l2=3.0, rounds=2):
    held = next(held_out_folds(len(h), np.random.default_rng(1)))
    weights = Weights(3.0, weight)
    return neighbour_losses(h, labels, held, plain_l2=plain_l2, weights=weights, rounds=rounds)


@pytest.mark.parametrize(("n_peaks", "n_cells", "share"), [(600, 400, 0.03), (100, 900, 0.4)])
def test_noise_has_the_largest_singular_value_that_is_said(n_peaks, n_cells, share):
    rng = np.random.default_rng(0)
    noise = (rng.random((n_peaks, n_cells)) < share) - share
    expected = np.linalg.norm(noise, 2)
    np.testing.assert_allclose(noise_norm(n_peaks, n_cells, share), expected, rtol=0.05)


def test_folds_are_fifths_without_common_peaks():
    folds = torch.stack(list(held_out_folds(203, np.random.default_rng(0))))
    assert folds.shape == (FOLDS, 203)
    assert folds.sum(1).tolist() == [41, 41, 41, 40, 40]
    assert folds.sum(0).tolist() == [1] * 203


def test_peaks_of_which_sequences_say_nothing_are_set_free():
    plain, _, free = losses(*planted(says=False), 3.0)
    assert free < plain - 0.01


def test_too_much_freedom_is_seen():
    """Five types in 3 of 16 dimensions, few open pairs, sequences that are nearly right."""
    rng = np.random.default_rng(1)
    w = np.zeros((N, 16))
    w[:, :3] = rng.normal(0, 1.5, (TYPES, 3))[np.arange(N) % TYPES]
    x = rng.normal(size=(P, 16))
    labels = torch.from_numpy((rng.random((P, N)) < expit(x @ w.T - 3)).astype(np.uint8))
    h = torch.from_numpy(x + rng.normal(0, 0.7, x.shape)).float()
    plain, _, free = losses(h, labels, 0.01, rounds=1)
    weight = noise_norm(P, N, float(labels.float().mean())) ** 2 / 3
    held = losses(h, labels, weight, rounds=1).deviating
    assert held < min(free, plain) - 0.001


@pytest.mark.parametrize(
    ("held", "deviating", "taken"),
    [
        (0.0, 0.0, "plain"),
        (-0.1, -0.1, "plain"),
        (0.1, 0.2, "deviating"),
        (0.2, 0.1, "held"),
        (0.2, -0.1, "held"),
        (-0.1, 0.1, "deviating"),
        (0.01, 0.02, "held"),  # deviating as far as folds tell is plain
        (-0.01, 0.02, "plain"),
        (0.01, 0.2, "deviating"),
        (0.15, 0.2, "held"),  # as far as folds tell
    ],
)
def test_what_is_taken_is_seen_in_the_folds(held, deviating, taken):
    folds = torch.linspace(1, 2, FOLDS)[:, None].repeat(1, 3)
    noise = torch.tensor([0.1, -0.1, 0.1, -0.1, 0.0])
    folds[:, 1] -= held + noise
    folds[:, 2] -= deviating - noise
    assert chosen(folds) == taken


def test_cells_without_deviations_have_their_own_weight():
    h, labels = planted(says=True)
    weak, strong = (losses(h, labels, 3.0, plain_l2=l2) for l2 in (3.0, 1e3))
    assert strong.plain != pytest.approx(weak.plain, abs=1e-3)
    np.testing.assert_allclose(strong[1:], weak[1:], atol=2e-3)
    np.testing.assert_allclose(weak.held, weak.plain, atol=2e-3)  # both are 3


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
    assert np.isfinite(losses(h[:5], labels[:5, :2], 3.0)).all()
