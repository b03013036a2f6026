"""The choice of how freely peaks may deviate: by pairs that no solve has seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit

from atlasbasset.core.deviation_choice import _HeldOut, held_out_losses

E, P, N, L2 = 4, 160, 120, 0.3
WEIGHTS = (0.03, 3.0, 1e6)


def planted(spread: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of sequences, and labels of peaks that lie `spread` beside them."""
    rng = np.random.default_rng(seed)
    h, w = rng.normal(size=(P, E)), 1.5 * rng.normal(size=(N, E))
    x = h + rng.normal(0, spread, h.shape)
    labels = rng.random((P, N)) < expit(x @ w.T - 0.5)
    return torch.from_numpy(h).float(), torch.from_numpy(labels.astype(np.uint8))


def losses(h, labels, rounds=2):
    rng = np.random.default_rng(1)
    return held_out_losses(h, labels, WEIGHTS, l2=L2, rounds=rounds, rng=rng).numpy()


def test_peaks_beside_their_sequences_are_set_free():
    found = losses(*planted(1.0))
    assert found.shape == (3, 3)
    assert np.ptp(found[:, 0]) == 0  # without deviations the weight means nothing
    assert found[:2, 1:].max() < found[0, 0] - 0.1
    np.testing.assert_allclose(found[2, 1:], found[2, 0], atol=1e-4)


def test_peaks_at_their_sequences_stay_there():
    found = losses(*planted(0.0))
    assert found[0, 1:].min() > found[0, 0] + 0.01


def test_held_out_labels_are_seen_by_no_solve():
    h, labels = planted(1.0)
    other = labels.clone()
    held = _HeldOut.chosen(h, labels, L2, np.random.default_rng(1))
    other[held.held_P[:, None] & held.held_N] ^= 1
    changed = _HeldOut.chosen(h, other, L2, np.random.default_rng(1))
    assert held.held_P.sum() == 32
    assert held.held_N.sum() == 24
    for before, after in zip(solved(held, h), solved(changed, h), strict=True):
        assert torch.equal(before, after)


def solved(held: _HeldOut, h: torch.Tensor) -> tuple[torch.Tensor, ...]:
    x = held.peaks(h, held.cells(h, None), 3.0)
    return x, *held.cells(x, None)


@pytest.mark.parametrize("side", [0, 1])
def test_other_labels_are_seen(side):
    """Of held peaks in kept cells, and of kept peaks in held cells."""
    h, labels = planted(1.0)
    held = _HeldOut.chosen(h, labels, L2, np.random.default_rng(1))
    other = labels.clone()
    seen = (held.held_P[:, None] & ~held.held_N, ~held.held_P[:, None] & held.held_N)[side]
    other[seen] ^= 1
    changed = held._replace(labels_PN=other)
    table = held.cells(h, None)
    if side:
        assert not torch.allclose(changed.cells(h, None).w_NE[held.held_N], table.w_NE[held.held_N])
    else:
        x, y = (one.peaks(h, table, 3.0)[held.held_P] for one in (held, changed))
        assert not torch.allclose(x, y)
