from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasstore.events import Progress, ignore
from atlasstore.preprocess._dry_run_counts import count_open, depth_among, read_runs
from small_atlas import MemorySource, make_peaks


def test_runs_are_in_order_and_grow_with_what_was_found(rng):
    counts = [rng.integers(0, 3, (n, 6)) for n in (40, 3)]
    sources = [MemorySource(c, make_peaks(6)) for c in counts]
    events: list[Progress] = []
    runs = list(read_runs(sources, stage="s", positives_per_read=12, on_event=events.append))
    opened = np.vstack(counts) > 0
    np.testing.assert_array_equal(np.concatenate([r.n_open for r in runs]), opened.sum(1))
    np.testing.assert_array_equal(np.concatenate([r.peaks for r in runs]), np.nonzero(opened)[1])
    assert sources[0].reads[0] == (
        0,
        12,
    )  # a cell is taken to have a tenth of the peaks, at least 1
    assert all(stop - start <= 3 for start, stop in sources[0].reads[1:])
    assert events[-1] == Progress("s", 43, 43, "cells")


@settings(deadline=None)  # the first call may compile
@given(seed=st.integers(0, 10**6), parts=st.integers(1, 3), size=st.integers(1, 50))
def test_counts_equal_the_dense_ones(seed, parts, size):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.5, (17, 5))
    kept = rng.random(5) < 0.5
    sources = [MemorySource(part, make_peaks(5)) for part in np.array_split(counts, parts)]
    options = {"positives_per_read": size, "on_event": ignore}
    per_cell, per_peak = count_open(sources, 2, **options)
    opened = counts > 0
    np.testing.assert_array_equal(per_cell, opened.sum(1))
    np.testing.assert_array_equal(per_peak, opened[opened.sum(1) >= 2].sum(0))
    np.testing.assert_array_equal(depth_among(sources, kept, **options), opened[:, kept].sum(1))
