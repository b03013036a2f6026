from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.errors import UserInputError
from atlasstore.zarrio.blocks import (
    MAX_BLOCK_CELLS,
    CellBlock,
    assign_blocks,
    chunk_and_shard,
    cut_cells,
    plan_cell_blocks,
    runs,
)


@given(
    n_cells=st.integers(1, 3_000_000),
    max_block_cells=st.integers(500, MAX_BLOCK_CELLS),
    min_blocks=st.integers(1, 64),
)
def test_blocks_cover_all_cells_once(n_cells, max_block_cells, min_blocks):
    blocks = plan_cell_blocks(n_cells, max_block_cells=max_block_cells, min_blocks=min_blocks)
    size = blocks[0].n_cells
    assert [b.index for b in blocks] == list(range(len(blocks)))
    assert all(b.start == b.index * size for b in blocks)
    assert all(b.n_cells == size for b in blocks[:-1])
    assert 1 <= blocks[-1].n_cells <= size <= max_block_cells
    assert blocks[-1].stop == n_cells
    assert len(blocks) >= min(min_blocks, n_cells)
    assert blocks == cut_cells(n_cells, size)


@pytest.mark.parametrize(
    ("n_cells", "n_blocks", "size"),
    [
        (1, 1, 1),
        (15, 15, 1),
        (16, 16, 1),
        (17, 17, 1),
        (31, 16, 2),
        (1017, 16, 64),
        (2000, 16, 125),
    ],
)
def test_small_atlases_get_sixteen_blocks_or_one_per_cell(n_cells, n_blocks, size):
    blocks = plan_cell_blocks(n_cells)
    assert (len(blocks), blocks[0].n_cells) == (n_blocks, size)


def test_large_atlas_has_blocks_whose_cells_fit_a_uint16():
    blocks = plan_cell_blocks(1_114_621)
    assert len(blocks) == 18
    assert max(b.n_cells for b in blocks) <= 65_536


@pytest.mark.parametrize(
    "wrong", [{"max_block_cells": 0}, {"max_block_cells": 65_537}, {"min_blocks": 0}]
)
def test_impossible_plans_are_refused(wrong):
    with pytest.raises(ValueError, match="cannot plan blocks"):
        plan_cell_blocks(10, **wrong)
    with pytest.raises(ValueError, match="n_cells=0"):
        plan_cell_blocks(0)


def best_maximum(weights: list[int], n_ranks: int) -> int:
    """Every way to cut the list, tried."""
    cuts = itertools.combinations(range(1, len(weights)), n_ranks - 1)
    edges = ([0, *cut, len(weights)] for cut in cuts)
    return min(max(sum(weights[a:b]) for a, b in itertools.pairwise(e)) for e in edges)


@given(st.data())
def test_assignment_is_contiguous_and_as_even_as_can_be(data):
    weights = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=9))
    n_ranks = data.draw(st.integers(1, len(weights)))
    shares = assign_blocks(weights, n_ranks)
    assert len(shares) == n_ranks
    assert all(len(share) > 0 for share in shares)
    assert [i for share in shares for i in share] == list(range(len(weights)))
    heaviest = max(sum(weights[i] for i in share) for share in shares)
    assert heaviest == best_maximum(weights, n_ranks)


def test_more_ranks_than_blocks_says_how_many_can_be():
    with pytest.raises(
        UserInputError, match=r"5 workers cannot share 3 cell blocks.*at most 3 .*--min-blocks 5"
    ):
        assign_blocks([1, 1, 1], 5)
    with pytest.raises(ValueError, match="at least 1"):
        assign_blocks([1], 0)


@given(
    n_rows=st.integers(0, 10**9),
    row_bytes=st.integers(1, 10**6),
    chunk_bytes=st.integers(1, 1 << 21),
    shard_bytes=st.integers(1, 1 << 28),
)
def test_chunks_and_shards(n_rows, row_bytes, chunk_bytes, shard_bytes):
    chunk, shard = chunk_and_shard(
        n_rows, row_bytes, chunk_bytes=chunk_bytes, shard_bytes=shard_bytes
    )
    assert chunk >= 1
    assert shard % chunk == 0
    assert chunk == 1 or chunk * row_bytes <= chunk_bytes
    assert shard == chunk or shard * row_bytes <= shard_bytes
    assert shard < n_rows + chunk or shard == chunk


def test_runs():
    assert list(runs(7, 3)) == [(0, 3), (3, 6), (6, 7)]
    assert list(runs(0, 3)) == []
    assert CellBlock(1, 3, 6).n_cells == 3
