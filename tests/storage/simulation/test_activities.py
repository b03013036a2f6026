from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasstore.simulation.activities import (
    BIAS_SEQUENCE_SD,
    OWN_SD,
    SHARED_SD,
    batch_activities,
    batch_shares,
    batch_shifts,
    cell_type_activities,
    sequence_bias,
    type_shares,
)
from atlasstore.simulation.peaks import place_peaks, place_sites


@settings(max_examples=80, deadline=None)
@given(n_types=st.integers(1, 30), n_motifs=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_every_type_has_tfs_of_its_own_and_types_differ(n_types, n_motifs, seed):
    activities = cell_type_activities(n_types, n_motifs, np.random.default_rng(seed))
    assert activities.shape == (n_types, n_motifs)
    assert activities.min() >= 0
    n_side = n_motifs // 6
    assert (activities == 0).all(axis=0).sum() >= n_side
    active = (activities > 0).sum(axis=1)
    assert len(set(active.tolist())) == 1
    assert active[0] >= n_side + 1
    assert len({tuple(row) for row in activities.tolist()}) == n_types


def test_motifs_serve_evenly():
    activities = cell_type_activities(32, 24, np.random.default_rng(5))
    used = (activities > 0).sum(axis=0)
    assert (used == 32).sum() == 4
    assert (used == 0).sum() == 4
    assert used[(used > 0) & (used < 32)].tolist() == [6] * 16


@pytest.mark.parametrize("n_motifs", [8, 16, 60])
def test_the_spread_of_the_log_rates_does_not_depend_on_the_motif_count(n_motifs, rng):
    n_peaks, n_types = 20_000, 6
    sites = place_sites(place_peaks(n_peaks, rng), np.full(n_motifs, 12), rng)
    activities = cell_type_activities(n_types, n_motifs, rng)
    log_rates = sites.counts(n_peaks, n_motifs) @ activities.T
    expected = np.hypot(OWN_SD, SHARED_SD)
    assert log_rates.std(axis=0).mean() == pytest.approx(expected, rel=0.12)


def test_batches(rng):
    assert not batch_activities(1, 8, 0.5, rng).any()
    n_peaks, n_motifs = 20_000, 16
    sites = place_sites(place_peaks(n_peaks, rng), np.full(n_motifs, 12), rng)
    moved = sites.counts(n_peaks, n_motifs) @ batch_activities(40, n_motifs, 0.5, rng).T
    assert moved.std(axis=0).mean() == pytest.approx(0.5, rel=0.12)
    assert not batch_activities(3, 8, 0.0, rng).any()


def test_sequence_bias_is_standardised():
    bias = sequence_bias(np.array([0.3, 0.4, 0.5, 0.6]))
    assert bias.mean() == pytest.approx(0)
    assert bias.std() == pytest.approx(BIAS_SEQUENCE_SD)
    assert np.all(np.diff(bias) > 0)


def test_batch_shifts_meet_their_share_of_the_peaks(rng):
    shifts = batch_shifts(3, 20_000, 0.8, 0.2, rng)
    assert set(np.unique(shifts)) == {-0.8, 0.0, 0.8}
    np.testing.assert_allclose((shifts != 0).mean(1), 0.2, atol=0.01)
    np.testing.assert_allclose((shifts > 0).mean(1), 0.1, atol=0.01)
    assert (shifts[0] != shifts[1]).any()
    assert not batch_shifts(1, 50, 0.8, 0.2, rng).any()
    assert not batch_shifts(3, 50, 0.0, 0.2, rng).any()


def test_batch_shares_are_around_the_types_shares(rng):
    shares = np.array([0.5, 0.3, 0.2])
    np.testing.assert_array_equal(batch_shares(shares, 4, 0.0, rng), [shares] * 4)
    drawn = batch_shares(shares, 20_000, 0.5, rng)
    np.testing.assert_allclose(drawn.sum(1), 1)
    np.testing.assert_allclose(drawn.mean(0), shares, atol=0.01)
    assert batch_shares(shares, 500, 0.05, rng).std(0).max() < 0.1
    assert (batch_shares(shares, 500, 0.9, rng).max(1) > 0.9).mean() > 0.6


def test_rare_types_have_their_share_and_the_others_the_rest():
    plain = type_shares(12, 0, 0.01, np.random.default_rng(3))
    found = type_shares(12, 2, 0.01, np.random.default_rng(3))
    assert plain.sum() == pytest.approx(1)
    assert found[10:].tolist() == [0.01, 0.01]
    np.testing.assert_allclose(found[:10], plain[:10] * 0.98 / plain[:10].sum())
