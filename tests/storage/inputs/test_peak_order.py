from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import PeaksError
from atlasstore.inputs.peak_order import find_peaks, peaks_digest
from small_atlas import make_peaks

NAMES = ("a.h5ad", "b.h5ad")


@given(order=st.permutations(range(9)))
def test_every_peak_is_found_whatever_the_order_and_names(order) -> None:
    wanted = make_peaks(9)
    peaks = wanted.iloc[list(order)].rename(index=lambda name: f"peak_{name}")
    rows = find_peaks(wanted, peaks.astype({"chrom": "category"}), names=NAMES)
    np.testing.assert_array_equal(np.array(order)[rows], range(9))
    assert (peaks_digest(wanted) == peaks_digest(peaks)) == (list(order) == list(range(9)))


def test_a_digest_depends_on_each_coordinate() -> None:
    peaks = make_peaks(3)
    changed = [peaks.assign(chrom="chrX"), peaks.assign(start=0), peaks.assign(end=9**9)]
    assert len({peaks_digest(table) for table in [peaks, *changed]}) == 4


def test_the_difference_is_shown() -> None:
    wanted, peaks = make_peaks(8).iloc[:6], make_peaks(8).iloc[[7, 5, 4, 3, 2]]
    with pytest.raises(
        PeaksError,
        match=r"^b.h5ad does not have the peaks of a.h5ad: 4 are in both, "
        r"2 \(chrI:200-500, chrI:700-1000\) only in a.h5ad, 1 \(chrII:1700-2000\) only in b.h5ad; ",
    ):
        find_peaks(wanted, peaks, names=NAMES)


def test_many_are_counted_and_the_first_shown() -> None:
    with pytest.raises(
        PeaksError, match=r"none only in a.h5ad, 1,995 \(chrI:2700-3000, (\S+, ){2}\.\.\.\) only"
    ):
        find_peaks(make_peaks(2000).iloc[:5], make_peaks(2000), names=NAMES)


def test_a_repeated_peak_is_refused() -> None:
    peaks = make_peaks(3)
    twice = pd.concat([peaks, peaks.iloc[[1]].set_axis(["again"])])
    with pytest.raises(PeaksError, match=r"^b.h5ad: 1 peak repeats .* named chrI:700-1000, again;"):
        find_peaks(peaks, twice, names=NAMES)
