from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import PeaksError
from atlasstore.genome.overlaps import overlapping_rows


def table(rows):
    return pd.DataFrame(rows, columns=["chrom", "start", "end"])


_interval = st.tuples(
    st.sampled_from(["chr1", "chr2", "chrX"]), st.integers(0, 30), st.integers(1, 12)
).map(lambda drawn: (drawn[0], drawn[1], drawn[1] + drawn[2]))
_intervals = st.lists(_interval, min_size=1, max_size=12)


@given(_intervals, _intervals)
def test_against_every_pair(peaks, intervals):
    pairs = np.array(
        [[p[0] == i[0] and p[1] < i[2] and i[1] < p[2] for p in peaks] for i in intervals]
    )
    if pairs.any(1).all():
        found = overlapping_rows(table(peaks), table(intervals), name="some.bed")
        np.testing.assert_array_equal(found, np.flatnonzero(pairs.any(0)))
        return
    missed = np.flatnonzero(~pairs.any(1))
    chrom, start, end = intervals[missed[0]]
    with pytest.raises(PeaksError) as caught:
        overlapping_rows(table(peaks), table(intervals), name="some.bed")
    assert f"{len(missed)} of {len(intervals)} intervals in some.bed overlap no" in str(
        caught.value
    )
    assert f"(first: {chrom}:{start}-{end})" in str(caught.value)


def test_ends_are_half_open():
    peaks = table([("chr1", 10, 20)])
    assert overlapping_rows(peaks, table([("chr1", 19, 30)]), name="x").tolist() == [0]
    for outside in (("chr1", 20, 30), ("chr1", 5, 10), ("chr2", 10, 20)):
        with pytest.raises(PeaksError, match="1 of 1"):
            overlapping_rows(peaks, table([outside]), name="x")
