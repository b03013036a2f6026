"""Pieces to blocks against the dense transposition."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasstore.atlas.writer import ArraySizes
from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.transpose.block_writer import plan_blocks, write_block
from atlasstore.transpose.read_spans import Span, read_span, span_depth, span_totals
from atlasstore.transpose.scratch_files import (
    OpenPeaks,
    Piece,
    read_piece,
    write_numbers,
    write_piece,
)
from atlasstore.zarrio.blocks import plan_parts
from small_atlas import MemorySource, make_peaks


class Opener:
    """An input whose counts are a matrix in memory."""

    def __init__(self, counts):
        self.counts = counts

    def __call__(self):
        return MemorySource(self.counts, make_peaks(self.counts.shape[1]))


def read_all(counts, scratch, *, span_cells, size, least=1):
    spans = [
        Span(f"span-{start}", Opener(counts), start, min(start + span_cells, len(counts)))
        for start in range(0, len(counts), span_cells)
    ]
    options = {"n_peaks": counts.shape[1], "least": least, "positives_per_read": size}
    receipts = [read_span(span, scratch=scratch, **options) for span in spans]
    return [
        (span.name, [Piece(**piece) for piece in receipt["pieces"]])
        for span, receipt in zip(spans, receipts, strict=True)
    ]


@pytest.fixture
def scratch(tmp_path):
    return str(tmp_path / "scratch")


@settings(max_examples=15, deadline=None)  # the first call may compile
@given(
    seed=st.integers(0, 10**6),
    n_cells=st.integers(1, 40),
    n_peaks=st.integers(1, 12),
    span_cells=st.integers(1, 40),
    size=st.integers(1, 100),
    block_cells=st.integers(1, 40),
    per_range=st.integers(1, 60),
    shard=st.integers(1, 4),
)
def test_equals_the_dense_transposition(
    tmp_path_factory, seed, n_cells, n_peaks, span_cells, size, block_cells, per_range, shard
):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.5, (n_cells, n_peaks))
    cells, peaks = rng.random(n_cells) < 0.8, rng.random(n_peaks) < 0.8
    cells[rng.integers(n_cells)] = peaks[rng.integers(n_peaks)] = True
    folder = tmp_path_factory.mktemp("t")
    scratch, store = str(folder / "scratch"), str(folder / "store")
    read = read_all(counts, scratch, span_cells=span_cells, size=size)
    pieces = [piece for _, of_span in read for piece in of_span]
    rows = np.full(n_peaks, -1, np.int32)
    rows[peaks] = rng.permutation(int(peaks.sum()))  # any order of the peaks
    parts = plan_parts([0, int(cells.sum())], min(block_cells, int(cells.sum())))
    urls.create_group(store)
    wanted = np.zeros((int(cells.sum()), int(peaks.sum())), bool)
    wanted[:, rows[peaks]] = counts[cells][:, peaks] > 0
    sizes = ArraySizes(chunk_bytes=2, index_shard_bytes=2 * shard)
    place = {"store": store, "scratch": scratch, "positives_per_range": per_range}
    for task in plan_blocks(parts, pieces, kept=cells, rows=rows):
        receipt = write_block(task, **place, sizes=sizes)
        group = urls.open_group(store)
        edges = group[f"labels/{task.part.index}/indptr"][:]
        found = group[f"labels/{task.part.index}/indices"][:]
        of_part = wanted[task.part.start : task.part.stop]
        np.testing.assert_array_equal(np.diff(edges), of_part.sum(0))
        np.testing.assert_array_equal(found, np.nonzero(of_part.T)[1])
        assert receipt["n_positives"] == of_part.sum()


def test_totals_hold_one_piece_at_a_time(scratch):
    pieces, n_open = [], np.full(10, 20_000, np.uint32)
    for i in range(10):
        pieces.append(Piece(f"span-0-0/{i}", 10, 200_000))
        write_piece(scratch, pieces[-1].name, OpenPeaks(n_open, np.zeros(200_000, np.uint32)))
    write_numbers(scratch, "span-0-0/cells_with_peak", np.zeros(5, np.uint32))
    tracemalloc.start()
    try:
        found, _ = span_totals("span-0-0", pieces, scratch=scratch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found, np.tile(n_open, 10))
    assert peak < 3 * 800_000  # a piece has 0.8 MB


def test_totals_and_depths(scratch, rng):
    counts = rng.poisson(0.7, (23, 9))
    opened, kept = counts > 0, rng.random(9) < 0.5
    read = read_all(counts, scratch, span_cells=10, size=13, least=4)
    totals = [span_totals(unit, pieces, scratch=scratch) for unit, pieces in read]
    depth = [span_depth(pieces, scratch=scratch, kept=kept) for _, pieces in read]
    np.testing.assert_array_equal(np.concatenate([t[0] for t in totals]), opened.sum(1))
    enough = opened.sum(1) >= 4
    np.testing.assert_array_equal(sum(t[1] for t in totals), opened[enough].sum(0))
    np.testing.assert_array_equal(np.concatenate(depth), opened[:, kept].sum(1))


@pytest.mark.parametrize("damage", ["flip", "cut", "other"])
def test_a_damaged_piece_is_an_error(scratch, damage, tmp_path):
    opened = OpenPeaks(np.array([2, 1], np.uint32), np.array([4, 9, 0], np.uint32))
    write_piece(scratch, "span-0-0/0", opened)
    piece = Piece("span-0-0/0", 2, 3 if damage != "other" else 4)
    file = tmp_path / "scratch/span-0-0/0"
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:5] + bytes([content[5] ^ 1]) + content[6:])
    elif damage == "cut":
        file.write_bytes(content[:-3])
    with pytest.raises(CorruptStoreError, match="not what was written; delete the job"):
        read_piece(scratch, piece, n_peaks=10)
