from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from atlasstore.inputs.insertion_counts import PeakSegments, fragment_peak_pairs

LIMIT = 60
INTERVAL = st.tuples(st.integers(0, 2), st.integers(0, LIMIT - 1), st.integers(1, LIMIT)).map(
    lambda t: (t[0], t[1], t[1] + t[2])
)


def columns(rows: list[tuple[int, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chrom, start, end = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return chrom, start, end


def by_hand(peaks: list, fragments: list) -> Counter:
    """The rule as it is said, peak by peak and fragment by fragment."""
    return Counter(
        (f, p)
        for f, (chrom, start, end) in enumerate(fragments)
        for p, (peak_chrom, peak_start, peak_end) in enumerate(peaks)
        if chrom == peak_chrom
        and (peak_start <= start < peak_end or peak_start <= end - 1 < peak_end)
    )


def counted(peaks: list, fragments: list) -> Counter:
    segments = PeakSegments.build(*columns(peaks))
    chrom, start, end = columns(fragments)
    known = np.flatnonzero(chrom < segments.offset.size)
    fragment, peak = fragment_peak_pairs(
        segments, chrom=chrom[known], start=start[known], end=end[known]
    )
    return Counter(zip(known[fragment].tolist(), peak.tolist(), strict=True))


@given(peaks=st.lists(INTERVAL, min_size=1, max_size=12), fragments=st.lists(INTERVAL, max_size=30))
@example(peaks=[(0, 0, 50), (0, 10, 20), (0, 10, 20), (0, 19, 21)], fragments=[(0, 15, 20)])
@example(peaks=[(1, 5, 10)], fragments=[(0, 6, 8), (1, 0, 40), (1, 9, 10), (1, 10, 12)])
def test_equals_the_rule_by_hand_also_where_peaks_overlap(peaks, fragments) -> None:
    assert counted(peaks, fragments) == by_hand(peaks, fragments)


def test_known_answers() -> None:
    peaks = [(0, 100, 200)]
    cases = {
        (0, 50, 101): 1,  # its last base, 100, is the peak's first
        (0, 50, 100): 0,  # its last base is 99
        (0, 199, 400): 1,
        (0, 200, 400): 0,
        (0, 120, 180): 1,  # both insertions, counted once
        (0, 50, 400): 0,  # spans the peak
        (1, 120, 180): 0,
    }
    for fragment, expected in cases.items():
        assert len(by_hand(peaks, [fragment])) == expected
        assert sum(counted(peaks, [fragment]).values()) == expected
