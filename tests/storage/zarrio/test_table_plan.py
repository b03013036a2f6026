from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atlasstore.zarrio.table_plan import plan_table

DTYPES = st.sampled_from(["float32", "float16", "uint8"])


@given(
    rows=st.integers(1, 10**9),
    rest=st.lists(st.integers(1, 5000), max_size=3),
    dtype=DTYPES,
)
def test_pieces_are_whole_rows_of_about_the_size_meant(rows, rest, dtype):
    plan = plan_table("X", (rows, *rest), dtype)
    row_bytes = int(np.prod(rest, dtype=object)) * np.dtype(dtype).itemsize
    assert plan.shard_rows % plan.chunk_rows == 0
    assert plan.chunk_rows == 1 or plan.chunk_rows * row_bytes <= 1 << 20
    assert plan.shard_rows == plan.chunk_rows or plan.shard_rows * row_bytes <= 32 << 20
    assert plan.n_bytes == rows * row_bytes
    assert (plan.n_shards - 1) * plan.shard_rows < rows <= plan.n_shards * plan.shard_rows


@given(rows=st.integers(1, 200_000), columns=st.integers(1, 200_000), dtype=DTYPES)
def test_shards_cover_every_row_once(rows, columns, dtype):
    plan = plan_table("X", (rows, columns), dtype)
    shards = list(plan.shards())
    assert len(shards) == plan.n_shards
    assert [start for start, _ in shards] == [0, *(stop for _, stop in shards[:-1])]
    assert shards[-1][1] == rows
    assert all(0 < stop - start <= plan.shard_rows for start, stop in shards)


def test_a_million_cells_by_the_atlas_of_a_genome():
    plan = plan_table("X", (1_000_000, 118_000), "float16")
    assert plan.n_bytes == 236_000_000_000
    assert (plan.chunk_rows, plan.shard_rows) == (4, 140)
