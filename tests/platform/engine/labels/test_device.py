"""Labels on the device: the same positives and matrices as from memory."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from atlasbasset.core.loss import fused_bce
from atlasbasset.core.loss_types import CellTable
from atlasbasset.engine.labels.device import DeviceCachedLabels, DeviceLabels
from atlasbasset.engine.labels.host import CachedLabels, LabelShard
from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.label_rows import LabelRows
from atlasstore.zarrio.blocks import cut_cells
from tiny import atlas

CPU = torch.device("cpu")


def shards(dense: np.ndarray, block_cells: int, first_cell: int = 0):
    """Both kinds of shard of dense labels (peaks, cells), in blocks."""
    n_cells = dense.shape[1]
    blocks = [b for b in cut_cells(first_cell + n_cells, block_cells) if b.start >= first_cell]
    labels = []
    for block in blocks:
        part = sparse.csr_array(dense[:, block.start - first_cell : block.stop - first_cell])
        labels.append(LabelRows(part.indptr.astype(np.int64), part.indices.astype(np.uint16)))
    device = DeviceLabels(blocks, iter(labels), n_positives=int(dense.sum()), device=CPU)
    return LabelShard(blocks, labels), device


def tiles_of(rng: np.random.Generator, n_cells: int) -> tuple[slice, ...]:
    edges = np.sort(rng.choice(n_cells + 1, 2 * rng.integers(0, 4), replace=True))
    return tuple(slice(a, b) for a, b in edges.reshape(-1, 2).tolist())


@given(seed=st.integers(0, 10_000), block_cells=st.sampled_from([1, 7, 16, 100]))
@settings(max_examples=60, deadline=None)
def test_positives_are_those_from_memory(seed, block_cells):
    rng = np.random.default_rng(seed)
    first = block_cells * int(rng.integers(0, 3))
    dense = rng.random((rng.integers(1, 40), rng.integers(1, 60))) < rng.choice([0, 0.1, 0.9])
    memory, device = shards(dense, block_cells, first)
    peaks = rng.permutation(len(dense))[: rng.integers(1, 20)]
    for mine, theirs in zip(device.positives(peaks), memory.positives(peaks), strict=True):
        assert mine.dtype == torch.int64
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, check_dtype=False)
    np.testing.assert_array_equal(device.matrix(peaks).toarray(), dense[peaks])


@given(seed=st.integers(0, 10_000), block_cells=st.sampled_from([1, 7, 16, 100]))
@settings(max_examples=60, deadline=None)
def test_positives_of_some_cells(seed, block_cells):
    rng = np.random.default_rng(seed)
    dense = rng.random((rng.integers(1, 40), rng.integers(1, 60))) < 0.3
    memory, device = shards(dense, block_cells)
    peaks = rng.permutation(len(dense))[: rng.integers(1, 20)]
    tiles = tiles_of(rng, dense.shape[1])
    expected, found = memory.positives(peaks, tiles), device.positives(peaks, tiles)
    torch.testing.assert_close(found.cell, expected.cell, rtol=0, atol=0, check_dtype=False)
    torch.testing.assert_close(found.row, expected.row, rtol=0, atol=0)
    padded, n_met = device._padded(peaks, tiles)
    assert len(padded.cell) == dense[peaks].sum()
    assert torch.all(padded.cell[len(expected.cell) :] == n_met)


def test_the_loss_by_tiles_never_reaches_cells_past_the_table(rng):
    memory, device = shards(rng.random((30, 50)) < 0.4, 16)
    tiles = (slice(3, 9), slice(20, 41))
    peaks = rng.permutation(30)[:12]
    h, embedding, intercept = (
        torch.from_numpy(rng.standard_normal(shape)) for shape in ((12, 4), (27, 4), (27,))
    )
    table = CellTable(embedding, intercept)
    padded, n_met = device._padded(peaks, tiles)
    plain = memory.positives(peaks, tiles)
    assert n_met == 27
    assert len(padded.cell) > len(plain.cell)
    found = [fused_bce(h, table, positives) for positives in (padded, plain)]
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_cell_indices_use_all_sixteen_bits():
    dense = np.zeros((2, 65_536), bool)
    dense[0, [0, 32_767, 32_768, 65_535]] = dense[1, [65_534]] = True
    memory, device = shards(dense, 65_536)
    peaks = np.array([1, 0])
    assert device.positives(peaks).cell.tolist() == [0, 32_767, 32_768, 65_534, 65_535]
    assert device.positives(peaks).row.tolist() == memory.positives(peaks).row.tolist()


def test_pairs_too_many_for_a_narrow_key_are_sorted_as_well():
    """2**31 keys are passed by many cells and rows: here by rows that repeat one peak."""
    dense = np.zeros((2, 3000), bool)
    dense[1, [5, 2999]] = True
    _, device = shards(dense, 1000)
    peaks = np.zeros(800_000, np.int64)
    peaks[[7, 799_999]] = 1
    found = device.positives(peaks)
    assert found.cell.tolist() == [5, 5, 2999, 2999]
    assert found.row.tolist() == [7, 799_999, 7, 799_999]


def test_labels_of_an_atlas_are_loaded_once(tmp_path):
    opened = Atlas.open(atlas(tmp_path / "a.zarr"))
    blocks = opened.blocks[3:9]
    device = DeviceCachedLabels(opened, blocks, CPU)
    peaks = np.arange(4, 30)
    expected = CachedLabels(opened, blocks).load(peaks)
    assert device.load(peaks) is device.load(peaks[:3])
    assert (device.load(peaks).start, device.load(peaks).n_cells) == (
        expected.start,
        expected.n_cells,
    )
    np.testing.assert_array_equal(
        device.load(peaks).matrix(peaks).toarray(), expected.matrix(peaks).toarray()
    )
