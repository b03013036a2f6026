"""Units of `map`: each writes chunks of its own, whatever the atlas's blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.verbs.map_cells import work
from atlasstore.files import urls
from atlasstore.zarrio.blocks import cut_cells


@given(st.integers(1, 40_000), st.integers(1, 20_000))
def test_no_two_units_share_a_chunk_and_none_is_left(n_cells, block_cells):
    blocks = cut_cells(n_cells, block_cells)[:200]
    units = work.cell_units(blocks)
    size = work._unit_cells(blocks)
    assert [unit["row"] % size for unit in units] == [0] * len(units)
    assert [unit["row"] // size for unit in units] == list(range(len(units)))
    assert all(0 < unit["stop"] - unit["start"] <= size for unit in units)
    assert [unit["start"] for unit in units] == [0, *(unit["stop"] for unit in units[:-1])]
    by_block = {block["block"]: block["row"] for block in work.block_units(blocks)}
    for unit in units:
        assert unit["row"] - by_block[unit["block"]] == unit["start"] - blocks[unit["block"]].start


def test_the_array_holds_a_chunk_for_every_unit(tmp_path):
    blocks = cut_cells(60, 7)
    work.create_solved(str(tmp_path / "s"), blocks, 2)
    array = urls.open_group(tmp_path / "s")["solved"]
    units = work.cell_units(blocks)
    assert array.nchunks == len(units) == 9
    assert array.shape == (63, 2 + 1 + 5)
    assert np.isnan(array[:]).all()
