"""The sampler of cells: every cell equally often, spread out, the same for any worker count."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasbasset.engine.cell_sampling import CellSampling

sizes = st.integers(1, 5000)


@given(n_cells=sizes, wanted=st.integers(0, 6000), seed=st.integers(0, 3), cycle=st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_a_cycle_meets_every_cell_once(n_cells, wanted, seed, cycle):
    sampling = CellSampling.plan(n_cells, wanted, seed=seed)
    met = np.zeros(n_cells, int)
    for turn in range(sampling.one_in):
        runs = sampling.sampled(cycle * sampling.one_in + turn)
        assert all(a <= b for a, b in runs)
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(runs))
        for a, b in runs:
            met[a:b] += 1
    np.testing.assert_array_equal(met, 1)


@given(n_cells=sizes, wanted=st.integers(1, 6000), step=st.integers(0, 50), data=st.data())
@settings(deadline=None)
def test_workers_share_out_what_one_meets(n_cells, wanted, step, data):
    sampling = CellSampling.plan(n_cells, wanted, seed=1)
    cut = data.draw(st.integers(0, n_cells))
    found = []
    for first, last in ((0, cut), (cut, n_cells)):
        tiles = sampling.tiles(step, first, last)
        own = np.arange(first, last)
        found.append(own if tiles is None else np.concatenate([own[:0], *(own[t] for t in tiles)]))
    expected = np.concatenate([np.arange(a, b) for a, b in sampling.sampled(step)])
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_steps_are_of_the_size_that_was_asked_for():
    for n_cells, wanted in ((1017, 508), (100_000, 25_000), (1_000_000, 125_000)):
        sampling = CellSampling.plan(n_cells, wanted, seed=0)
        for step in range(5):
            met = sum(b - a for a, b in sampling.sampled(step))
            assert abs(met - wanted) <= 0.02 * wanted + sampling.n_strata


def test_a_step_meets_all_parts_of_the_atlas():
    """Each of 16 samples that lie one after the other has its share in every step."""
    sampling = CellSampling.plan(160_000, 20_000, seed=3)
    for step in range(8):
        sample = np.concatenate([np.arange(a, b) for a, b in sampling.sampled(step)]) // 10_000
        counts = np.bincount(sample, minlength=16)
        assert counts.min() > 0.5 * 1250


def test_visits_count_cycles():
    sampling = CellSampling.plan(1000, 250, seed=0)
    assert sampling.one_in == 4
    assert [sampling.visits(step) for step in range(9)] == [1, 1, 1, 1, 2, 2, 2, 2, 3]


def test_all_cells_by_default():
    assert CellSampling.plan(1000, 0, seed=0).tiles(5, 100, 300) is None
