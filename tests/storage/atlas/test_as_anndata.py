"""An atlas as AnnData without reading it."""

from __future__ import annotations

import anndata
import dask.array
import numpy as np
import pytest
from scipy import sparse

from atlasstore.atlas import atlas as atlas_module
from atlasstore.atlas.atlas import Atlas
from small_atlas import make_atlas, random_labels


@pytest.fixture(scope="module")
def labels():
    return random_labels(np.random.default_rng(1), 203, 37)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, labels):
    codes = np.random.default_rng(2).integers(0, 5, (37, 198), dtype=np.uint8)
    url = make_atlas(tmp_path_factory.mktemp("lazy") / "a.zarr", labels, codes, max_block_cells=30)
    return Atlas.open(url)


def test_nothing_is_read_before_it_is_needed(atlas, labels, monkeypatch):
    read = []
    original = atlas_module.Atlas.labels

    def spy(self, index, *args):
        read.append(index)
        return original(self, index, *args)

    monkeypatch.setattr(atlas_module.Atlas, "labels", spy)
    table = atlas.to_anndata(lazy=True)
    assert isinstance(table.X, dask.array.Array)
    assert table.X.dtype == np.uint8
    assert table.X.chunks[0] == tuple(block.n_cells for block in atlas.blocks)
    assert read == []
    part = table[20:23, 5:9].to_memory()
    assert set(read) == {20 // atlas.blocks[0].n_cells}
    assert sparse.issparse(part.X)
    np.testing.assert_array_equal(part.X.toarray(), labels[20:23, 5:9])


def test_equals_the_one_in_memory(atlas):
    lazy, eager = atlas.to_anndata(lazy=True), atlas.to_anndata()
    assert (lazy.to_memory().X != eager.X).nnz == 0
    np.testing.assert_array_equal(lazy.obs["n_peaks"], eager.obs["n_peaks"])


def test_exporting_a_subset_is_a_line(atlas, labels, tmp_path, rng):
    cells = rng.random(203) < 0.3
    table = atlas.to_anndata(lazy=True)
    table[cells, table.var["chrom"] == "chrI"].write_h5ad(tmp_path / "part.h5ad")
    found = anndata.read_h5ad(tmp_path / "part.h5ad")
    np.testing.assert_array_equal(
        found.X.toarray(), labels[cells][:, (table.var["chrom"] == "chrI").to_numpy()]
    )


def test_chunks_are_read_in_other_processes(atlas, labels):
    sums = atlas.to_anndata(lazy=True).X.map_blocks(
        lambda x: np.asarray(x.sum(1)), chunks=(atlas.blocks[0].n_cells, 1), dtype=np.int64
    )
    found = sums.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(found.ravel(), labels.sum(1))
