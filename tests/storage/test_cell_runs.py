from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from atlasstore import cell_runs
from atlasstore.cell_runs import kept_runs, read_runs, regroup
from atlasstore.events import Progress, ignore
from small_atlas import MemorySource, make_peaks


def test_runs_are_binary_in_order_and_of_the_source_s_size(monkeypatch, rng):
    monkeypatch.setattr(cell_runs, "_CELLS_PER_READ", 4)
    counts = [rng.integers(0, 3, (n, 6)) for n in (10, 3, 9)]
    sources = [
        MemorySource(c, make_peaks(6), cells_per_read=size)
        for c, size in zip(counts, (1, 1, 9), strict=True)
    ]
    events: list[Progress] = []
    found = [run.toarray() for run in read_runs(sources, stage="s", on_event=events.append)]
    np.testing.assert_array_equal(np.vstack(found), np.vstack(counts) > 0)
    assert [s.reads for s in sources] == [[(0, 4), (4, 8), (8, 10)], [(0, 3)], [(0, 9)]]
    assert [e.done for e in events] == [4, 8, 10, 13, 22]
    assert events[-1] == Progress("s", 22, 22, "cells")


def test_kept_cells_and_peaks(rng):
    counts = rng.integers(0, 2, (11, 6))
    cells, peaks = rng.random(11) < 0.5, rng.random(6) < 0.5
    runs = read_runs([MemorySource(counts, make_peaks(6))], stage="s", on_event=ignore)
    kept = np.vstack([run.toarray() for run in kept_runs(runs, cells, peaks)])
    np.testing.assert_array_equal(kept, counts[cells][:, peaks])


@given(st.data())
def test_regroup_keeps_rows_and_order(data):
    lengths = data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    left, sizes = sum(lengths), []
    while left:
        sizes.append(data.draw(st.integers(1, left)))
        left -= sizes[-1]
    edges = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(2 * edges[-1]).reshape(-1, 2)
    runs = [sparse.csr_array(rows[a:b].reshape(-1, 2)) for a, b in itertools.pairwise(edges)]
    groups = list(regroup(runs, sizes))
    assert [g.shape[0] for g in groups] == sizes
    if groups:
        np.testing.assert_array_equal(np.vstack([g.toarray() for g in groups]), rows)


def test_one_run_is_held_at_a_time():
    """The second run is not asked for before the first is used up."""
    asked = []

    def runs():
        for i in range(3):
            asked.append(i)
            yield sparse.csr_array(np.ones((4, 2)))

    groups = regroup(runs(), [2, 2, 8])
    next(groups)
    next(groups)
    assert asked == [0]
    next(groups)
    assert asked == [0, 1, 2]
