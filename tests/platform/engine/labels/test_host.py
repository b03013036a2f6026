"""A worker's labels: the same from memory and from the store, for all cells and for some."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasbasset.engine.labels.host import CachedLabels, StreamedLabels, WorkerData
from atlasstore.atlas.atlas import Atlas
from tiny import atlas


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    return Atlas.open(
        atlas(tmp_path_factory.mktemp("atlas") / "a.zarr", n_peaks=200, min_blocks=16)
    )


@pytest.fixture(scope="module")
def dense(opened):
    return opened.to_anndata().X.toarray().astype(bool)


@given(seed=st.integers(0, 1000), blocks=st.sampled_from([range(20), range(3, 9)]))
@settings(max_examples=30, deadline=None)
def test_streamed_labels_are_the_cached_ones(opened, dense, seed, blocks):
    rng = np.random.default_rng(seed)
    peaks = np.sort(rng.choice(opened.n_peaks, rng.integers(1, 200), replace=False))
    cut = [opened.blocks[i] for i in blocks]
    shards = [kind(opened, cut).load(peaks) for kind in (CachedLabels, StreamedLabels)]
    batch = rng.permutation(peaks)[:16]
    expected = dense[cut[0].start : cut[-1].stop, batch].T
    for shard in shards:
        np.testing.assert_array_equal(shard.matrix(batch).toarray(), expected)
        found = shard.positives(batch)
        assert np.all(np.diff(found.cell.numpy()) >= 0)
        again = np.zeros_like(expected)
        again[found.row, found.cell] = True
        np.testing.assert_array_equal(again, expected)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_positives_of_some_cells(opened, dense, seed):
    """Counted in the order of the tiles, whatever blocks they cross."""
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.choice(opened.n_cells + 1, 6, replace=False))
    tiles = tuple(slice(a, b) for a, b in edges.reshape(3, 2).tolist())
    peaks = rng.choice(opened.n_peaks, 12, replace=False)
    shard = CachedLabels(opened, opened.blocks).load(np.sort(peaks))
    found = shard.positives(peaks, tiles)
    cells = np.concatenate([np.arange(t.start, t.stop) for t in tiles])
    again = np.zeros((len(peaks), len(cells)), bool)
    again[found.row, found.cell] = True
    assert np.all(np.diff(found.cell.numpy()) >= 0)
    np.testing.assert_array_equal(again, dense[cells][:, peaks].T)


@pytest.mark.parametrize("streamed", [False, True])
def test_label_tiles_cover_the_peaks(opened, dense, streamed, monkeypatch):
    monkeypatch.setattr("atlasbasset.engine.labels.host.TILE_POSITIVES", 100)
    data = WorkerData(opened, range(4, 12), labels="streamed" if streamed else "ram")
    peaks = opened.peak_rows("train")
    tiles = list(data.label_tiles(peaks))
    assert len(tiles) > 3
    found = np.concatenate([labels.toarray() for _, labels in tiles])
    np.testing.assert_array_equal(found, dense[data.start : data.stop, peaks].T)
    np.testing.assert_array_equal(
        np.concatenate([np.arange(len(peaks))[rows] for rows, _ in tiles]), np.arange(len(peaks))
    )
