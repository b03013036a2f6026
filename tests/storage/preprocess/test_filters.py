from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.preprocess.filters import FilterSpec, filter_counts
from small_atlas import MemorySource, make_peaks


def run(counts: np.ndarray, *, parts: int = 1, **spec):
    peaks = make_peaks(counts.shape[1])
    sources = [MemorySource(part, peaks) for part in np.array_split(counts, parts)]
    return filter_counts(sources, FilterSpec(**spec), on_event=ignore), sources


def reference(counts: np.ndarray, fraction: float, few: int):
    """The documented order, on the dense matrix."""
    opened = counts > 0
    enough = opened.sum(1) >= few
    peaks = opened[enough].sum(0) >= np.ceil(fraction * enough.sum() - 1e-9)
    return enough & (opened[:, peaks].sum(1) > 0), peaks, enough


@settings(deadline=None)  # the first call may compile
@given(
    seed=st.integers(0, 10**6),
    n_cells=st.integers(1, 30),
    n_peaks=st.integers(1, 12),
    fraction=st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5]),
    few=st.integers(0, 4),
    parts=st.integers(1, 3),
)
def test_equals_the_dense_reference(seed, n_cells, n_peaks, fraction, few, parts):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.3, (n_cells, n_peaks))
    cells, peaks, enough = reference(counts, fraction, few)
    if not (cells.any() and peaks.any()):
        with pytest.raises(UserInputError, match="Nothing is left"):
            run(counts, parts=parts, min_cell_fraction=fraction, min_peaks_per_cell=few)
        return
    found, _ = run(counts, parts=parts, min_cell_fraction=fraction, min_peaks_per_cell=few)
    np.testing.assert_array_equal(np.concatenate(found.cells), cells)
    np.testing.assert_array_equal(found.peaks, peaks)
    np.testing.assert_array_equal(found.depth, (counts[cells][:, peaks] > 0).sum(1))
    assert found.n_cells_few_peaks == (~enough).sum()
    assert found.n_peaks_rare == (~peaks).sum()
    assert found.n_cells_emptied == (enough & ~cells).sum()
    assert found.n_positives == (counts[cells][:, peaks] > 0).sum()


def test_what_each_filter_removed_is_said_in_order():
    counts = np.zeros((10, 4), int)
    counts[:8, 0] = counts[:8, 1] = 5
    counts[8, 2] = counts[8, 3] = 1  # two peaks that only this cell has
    counts[9, 0] = 1  # one peak only
    found, _ = run(counts, min_cell_fraction=0.5, min_peaks_per_cell=2)
    assert found.removed() == [
        "1 of 10 cells was removed: fewer than 2 open peaks.",
        "2 of 4 peaks were removed: open in fewer than 5 cells.",
        "1 of 9 cells was removed: no peak that was kept is open in them.",
    ]
    assert found.cells[0].tolist() == [True] * 8 + [False] * 2


def test_a_threshold_of_one_reads_as_none():
    counts = np.ones((10, 4), int)
    counts[0] = counts[:, 0] = 0
    found, _ = run(counts, min_cell_fraction=0.1)
    assert found.removed() == [
        "1 of 10 cells was removed: no open peak.",
        "1 of 4 peaks was removed: open in no cell.",
    ]


def test_threshold_is_met_exactly():
    """7 % of 100 cells are 7 cells, although 0.07 * 100 is more than 7 in floating point."""
    counts = np.ones((100, 2), int)
    counts[7:, 1] = 0
    found, _ = run(counts, min_cell_fraction=0.07)
    assert found.peaks.all()
    assert FilterSpec(min_cell_fraction=0.01).min_cells(1017) == 11


def test_counts_are_read_twice_only_when_a_peak_goes():
    counts = np.ones((6, 3), int)
    _, (source,) = run(counts)
    assert len(source.reads) == 1
    counts[1:, 2] = 0
    _, (source,) = run(counts, min_cell_fraction=0.5)
    assert len(source.reads) == 2


def test_empty_result_says_what_each_filter_removed():
    counts = np.eye(50, dtype=int)
    with pytest.raises(
        UserInputError,
        match=r"50 of 50 peaks were removed: open in fewer than 5 cells\. "
        r"50 of 50 cells were removed: no peak .* Lower the thresholds",
    ):
        run(counts, min_cell_fraction=0.1)
    with pytest.raises(UserInputError, match="50 of 50 cells were removed: fewer than 2"):
        run(counts, min_peaks_per_cell=2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"min_cell_fraction": 1.5}, r"share of cells is 1\.5, but it must be in 0\.\.1"),
        ({"min_cell_fraction": float("nan")}, "share of cells is nan"),
        ({"min_peaks_per_cell": -1}, "is -1, but it must be 0 or more"),
    ],
    ids=["share", "nan", "number"],
)
def test_thresholds_out_of_bounds(spec, message):
    with pytest.raises(UserInputError, match=message):
        FilterSpec(**spec)
