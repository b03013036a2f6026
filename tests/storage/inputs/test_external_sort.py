from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from atlasstore.files import urls
from atlasstore.inputs.external_sort import BYTES_PER_ENTRY, Run, RunWriter, cell_ranges, merge_runs

N_CELLS, N_PEAKS = 7, 5
ENTRY = st.tuples(st.integers(0, N_CELLS - 1), st.integers(0, N_PEAKS - 1), st.integers(1, 9))


def added_up(entries: list[tuple[int, int, int]]) -> np.ndarray:
    counts = np.zeros((N_CELLS, N_PEAKS), np.int64)
    for cell, peak, count in entries:
        counts[cell, peak] += count
    return counts


def write(url: str, batches: list, limit: int) -> list[Run]:
    writer = RunWriter(url, n_peaks=N_PEAKS, memory_bytes=limit * BYTES_PER_ENTRY)
    for batch in batches:
        writer.add(*np.array(batch, np.int64).reshape(-1, 3).T)
    return [Run(urls.join(url, str(number))) for number in range(writer.close())]


def merged(runs: list[Run], url: str, limit: int) -> csr_array:
    urls.delete(url)
    group = urls.create_group(url)
    shape = (N_CELLS, N_PEAKS)
    merge_runs(runs, group, shape=shape, memory_bytes=limit * BYTES_PER_ENTRY)
    parts = tuple(group[name][:] for name in ("data", "indices", "indptr"))
    assert [part.dtype for part in parts] == [np.int32, np.int32, np.int64]
    return csr_array(parts, shape=shape)


@settings(max_examples=20, deadline=None)
@given(
    batches=st.lists(st.lists(ENTRY, max_size=12), max_size=4),
    limits=st.tuples(st.integers(4, 20), st.integers(4, 20)),
)
def test_any_bound_gives_the_sum_in_order(batches, limits) -> None:
    runs = write("memory://any/runs", batches, limits[0])
    made = merged(runs, "memory://any/merged", limits[1])
    entries = [entry for batch in batches for entry in batch]
    np.testing.assert_array_equal(made.toarray(), added_up(entries))
    assert made.nnz == np.count_nonzero(added_up(entries))
    assert made.has_canonical_format


def test_a_small_bound_makes_more_runs_and_a_url_will_do() -> None:
    entries = [(cell, peak, 1) for cell in range(N_CELLS) for peak in range(N_PEAKS)]
    runs = write("memory://runs", [entries], 6)
    assert len(runs) == 6
    np.testing.assert_array_equal(merged(runs, "memory://merged", 6).toarray(), added_up(entries))


def test_cells_are_renumbered(tmp_path) -> None:
    entries = [(0, 1, 2), (1, 4, 1), (2, 0, 3)]
    (run,) = write(str(tmp_path / "runs"), [entries], 100)
    made = merged([run.renumbered(np.array([5, 0, 2]))], str(tmp_path / "merged"), 100)
    expected = added_up([(5, 1, 2), (0, 4, 1), (2, 0, 3)])
    np.testing.assert_array_equal(made.toarray(), expected)


@given(sizes=st.lists(st.integers(0, 9), max_size=30), limit=st.integers(1, 20))
def test_ranges_cover_the_cells_within_the_limit(sizes, limit) -> None:
    ranges = list(cell_ranges(np.array(sizes, np.int64), limit))
    assert [cell for start, stop in ranges for cell in range(start, stop)] == list(
        range(len(sizes))
    )
    for start, stop in ranges:
        assert stop - start == 1 or sum(sizes[start:stop]) <= limit


def test_a_writer_replaces_what_a_killed_one_left(tmp_path) -> None:
    url = str(tmp_path / "runs")
    write(url, [[(0, 0, 1)], [(1, 1, 1)]], 1)
    runs = write(url, [[(2, 2, 2)]], 1)
    assert urls.list_names(url) == ["0"]
    np.testing.assert_array_equal(
        merged(runs, str(tmp_path / "merged"), 9).toarray(), added_up([(2, 2, 2)])
    )


@pytest.mark.parametrize("limit", [1, 3])
def test_no_entries_at_all(tmp_path, limit) -> None:
    assert merged(write(str(tmp_path / "runs"), [], limit), str(tmp_path / "m"), limit).nnz == 0
