"""The planner: integers only, so hypothesis drives it over machines and atlases of any size."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import TooLittleMemoryError
from atlasstore.resume.machine import Machine
from atlasstore.transpose.memory_plan import (
    PEAK_BYTES,
    expected_passes,
    next_read,
    peak_ranges,
    plan_labels,
    plan_reads,
    plan_sequences,
    plan_survey,
    spans,
)

MB = 10**6
machines = st.builds(
    Machine,
    memory_bytes=st.integers(50 * MB, 64_000 * MB),
    held_bytes=st.integers(0, 2_000 * MB),
    cores=st.integers(1, 128),
)
n_peaks = st.integers(1, 3_000_000)


def keeps_the_bound(machine, workers, peak_bytes):
    assert 1 <= workers <= machine.cores
    assert peak_bytes <= machine.memory_bytes


@given(machine=machines, n_peaks=n_peaks)
def test_reads_keep_the_bound_or_say_what_is_needed(machine, n_peaks):
    try:
        plan = plan_reads(machine, n_peaks)
    except TooLittleMemoryError as error:
        enough = int(str(error).partition("--memory ")[2].partition("MB")[0]) * MB
        assert enough > machine.memory_bytes - MB
        plan_reads(Machine(enough, machine.held_bytes, machine.cores), n_peaks)
        return
    keeps_the_bound(machine, plan.workers, plan.peak_bytes)
    assert plan.positives_per_read >= 20_000


@given(
    machine=machines,
    n_peaks=n_peaks,
    positives=st.lists(st.integers(0, 4 * 10**9), min_size=1, max_size=40),
    piece=st.integers(0, 2_000_000),
    shard=st.sampled_from([1 << 20, 32 << 20]),
)
def test_labels_keep_the_bound_and_use_every_core_that_has_work(
    machine, n_peaks, positives, piece, shard
):
    def planned(machine):
        return plan_labels(
            machine,
            n_peaks_in=n_peaks,
            n_peaks=n_peaks,
            piece_positives=piece,
            block_positives=positives,
            shard_bytes=shard,
        )

    try:
        plan = planned(machine)
    except TooLittleMemoryError:
        return
    keeps_the_bound(machine, plan.workers, plan.peak_bytes)
    assert plan.workers <= len(positives)
    passes = expected_passes(max(positives), plan.positives_per_range)
    assert (passes - 1) * plan.positives_per_range >= max(positives)
    more = planned(Machine(2 * machine.memory_bytes, machine.held_bytes, plan.workers))
    assert expected_passes(max(positives), more.positives_per_range) <= passes


@given(machine=machines, run_peaks=st.integers(1, 10_000), bed_peaks=st.integers(0, 3_000_000))
def test_sequences_and_survey_keep_the_bound(machine, run_peaks, bed_peaks):
    try:
        workers, peak = plan_sequences(machine, run_peaks=run_peaks, stored_bp=1350)
        n_survey, share = plan_survey(machine, bed_peaks=bed_peaks)
    except TooLittleMemoryError:
        return
    keeps_the_bound(machine, workers, peak)
    fixed = PEAK_BYTES * bed_peaks
    keeps_the_bound(machine, n_survey, machine.peak_bytes(n_survey, fixed + share))


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=60), most=st.integers(1, 200))
def test_peak_ranges_cover_all_once_and_hold_what_they_may(counts, most):
    edges = [0, *accumulate(counts)]
    ranges = list(peak_ranges(edges, most))
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(counts)
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    for first, last in ranges:
        assert last > first
        assert edges[last] - edges[first] <= most or last == first + 1
        if last < len(counts):  # as long as can be
            assert edges[last + 1] - edges[first] > most


@given(n_cells=st.integers(1, 10**7))
def test_spans_cover_all_cells(n_cells):
    found = list(spans(n_cells))
    assert found[0][0] == 0
    assert found[-1][1] == n_cells
    assert all(a[1] == b[0] for a, b in pairwise(found))


@given(
    n_cells=st.integers(1, 300),
    n_peaks=st.integers(1, 3_000_000),
    size=st.integers(1, 10**7),
    depths=st.lists(st.integers(0, 60_000), min_size=1, max_size=5),
)
def test_reads_end_and_hold_what_was_planned_for_cells_seen_before(n_cells, n_peaks, size, depths):
    left, deepest, before = n_cells, 0, 0
    while left:
        cells = next_read(
            left, n_peaks=n_peaks, positives_per_read=size, deepest=deepest, before=before
        )
        assert 1 <= cells <= left
        assert cells == 1 or cells * max(deepest, 1) <= size
        left, before = left - cells, cells
        deepest = max(deepest, depths[left % len(depths)])


def test_a_thousand_million_positives_in_two_gigabytes():
    """The issue's atlas: 65,536 cells x 1 M peaks at 2.5 % do not fit and are cut."""
    plan = plan_labels(
        Machine(2_000 * MB, 300 * MB, 2),
        n_peaks_in=1_000_000,
        n_peaks=1_000_000,
        piece_positives=2_000_000,
        block_positives=[1_638_400_000] * 4,
        shard_bytes=32 << 20,
    )
    assert plan.workers == 2
    assert expected_passes(1_638_400_000, plan.positives_per_range) == 8


def test_too_little_memory_says_how_much_is_needed():
    with pytest.raises(TooLittleMemoryError, match=r"100 MB of memory are too few .*give at least"):
        plan_reads(Machine(100 * MB, 300 * MB, 2), 1000)
