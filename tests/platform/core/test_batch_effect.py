"""A batch's effect given the state of its cells: what it must move, and what it must not."""

from __future__ import annotations

import numpy as np
import pytest

from atlasbasset.core.batch_effect import fit_mixture, groups_of_batches

DIM = 6
PLACES = np.zeros((4, DIM))
PLACES[[1, 2, 3], [0, 1, 2]] = 9.0  # noise has an sd of 1


def drawn(shares, n_cells=600, seed=0, effects=None, deviations=0.0):
    """Cells of two or more batches with these shares of the states: (x, state, batch)."""
    shares = np.asarray(shares, float)
    rng = np.random.default_rng(seed)
    batch = rng.integers(0, len(shares), n_cells)
    state = np.array([rng.choice(shares.shape[1], p=shares[b]) for b in batch])
    own = deviations * rng.normal(size=(*shares.shape, DIM))
    moved = 0.0 if effects is None else np.asarray(effects, float)[batch]
    x = PLACES[state] + moved + own[batch, state] + rng.normal(size=(n_cells, DIM))
    return x, state, batch


def fitted(x, batch, seed=0, **options):
    return fit_mixture(
        x, batch, n_batches=int(batch.max()) + 1, rng=np.random.default_rng(seed), **options
    )


def effects_of(x, batch, **options):
    effects = fitted(x, batch, **options)[0].effects
    return effects - effects.mean(0)


EVEN = [[0.25] * 4] * 2
UNEVEN = [[0.45, 0.45, 0.05, 0.05], [0.05, 0.05, 0.45, 0.45]]
SHIFT = 4.0 * np.array([[1, 1, 1, 1, 0, 0], [-1, -1, -1, -1, 0, 0]]) / np.sqrt(4)


def test_a_label_independent_of_everything_moves_nothing():
    x, _, batch = drawn(EVEN)
    assert np.abs(effects_of(x, batch)).max() < 0.02


@pytest.mark.parametrize("shares", [UNEVEN, [[0.9, 0.1], [0.1, 0.9]], [[0.7, 0.3], [0.3, 0.7]]])
def test_another_composition_moves_nearly_nothing(shares):
    x, _, batch = drawn(shares)
    means = np.array([x[batch == b].mean(0) for b in range(2)])
    assert np.linalg.norm(means[0] - means[1]) > 3  # what the plain form takes away
    effects = effects_of(x, batch)
    assert np.linalg.norm(effects[0] - effects[1]) < 0.1


@pytest.mark.parametrize("shares", [EVEN, UNEVEN])
@pytest.mark.parametrize(("deviations", "size"), [(0.0, 0.25), (0.0, 2.0), (0.5, 1.0)])
def test_a_planted_effect_is_found(shares, deviations, size):
    x, _, batch = drawn(shares, effects=size * SHIFT, deviations=deviations)
    expected = size * (SHIFT - SHIFT.mean(0))
    # of the noise over some 150 cells a batch that tell, and of four states' deviations
    error = np.sqrt(2 * DIM * (1 / 150 + deviations**2 / 4))
    assert np.linalg.norm(effects_of(x, batch) - expected) < 1.5 * error


def test_many_batches_of_unlike_composition():
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(4, 0.7), size=12)
    planted = rng.normal(size=(12, DIM))
    x, _, batch = drawn(shares, n_cells=2400, effects=planted)
    error = effects_of(x, batch) - (planted - planted.mean(0))
    assert np.sqrt(np.square(error).mean()) < 0.15


def test_batches_have_no_order_and_a_seed_gives_the_same():
    x, _, batch = drawn(UNEVEN, effects=SHIFT)
    first = effects_of(x, batch)
    np.testing.assert_array_equal(effects_of(x, batch), first)
    np.testing.assert_allclose(effects_of(x, 1 - batch)[::-1], first, atol=1e-4)
    np.testing.assert_allclose(effects_of(x, batch, seed=1), first, atol=1e-2)


def test_rounding_of_the_cells_stays_rounding():
    x, _, batch = drawn(UNEVEN, effects=SHIFT)
    other = x * (1 + 1e-7 * np.random.default_rng(1).normal(size=x.shape))
    np.testing.assert_allclose(effects_of(other, batch), effects_of(x, batch), atol=1e-5)


def test_a_penalty_on_batch_rows_holds_them():
    x, _, batch = drawn(EVEN, effects=SHIFT)
    free, held = effects_of(x, batch), effects_of(x, batch, pull=1e6)
    assert np.linalg.norm(held) < 0.01 * np.linalg.norm(free)


def groups(shares, effects=None, **options):
    x, _, batch = drawn(shares, effects=effects, **options)
    mixture, sums = fitted(x, batch)
    return groups_of_batches(mixture, sums.counts).tolist()


def test_batches_that_no_method_could_tell_from_cells():
    apart = [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    assert groups(apart) == [0, 1]
    alone = np.array([[0, 0, 0, 9.0, 0, 0], [0] * DIM])
    assert groups([[1, 0, 0, 0], [1, 0, 0, 0]], effects=alone) == [0, 1]
    assert groups([[1, 0, 0, 0], [1, 0, 0, 0]]) == [0, 0]
    assert groups(UNEVEN, effects=alone) == [0, 0]
    assert groups(EVEN) == [0, 0]
    linked = [[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5]]
    assert groups(linked, n_cells=900) == [0, 0, 0]


@pytest.mark.parametrize("n_cells", [1, 2, 7, 40])
def test_few_cells_and_equal_cells(n_cells):
    rng = np.random.default_rng(0)
    batch = np.arange(n_cells) % 2
    for x in (rng.normal(size=(n_cells, DIM)), np.ones((n_cells, DIM))):
        mixture, sums = fit_mixture(x, batch, n_batches=3, rng=np.random.default_rng(0))
        assert np.isfinite(mixture.effects).all()
        assert np.abs(mixture.effects[2]).max() < 1e-6  # a batch without cells
        assert sums.counts.sum() == pytest.approx(n_cells)
        assert len(groups_of_batches(mixture, sums.counts)) == 3
