"""The units of `ism`: cut alike, done anywhere, the same bytes."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.verbs.ism.ism import ism
from atlasbasset.verbs.ism.work import ism_tables, region_units
from ray_cluster import own_ray
from small_atlas import random_chromosomes, write_fasta
from small_model import random_weights, write_model


@given(
    n_regions=st.integers(1, 5000),
    span=st.integers(1, 1344),
    n_groups=st.none() | st.integers(1, 1000),
)
def test_tables_are_cut_at_the_same_regions(n_regions, span, n_groups):
    tables = ism_tables(n_regions, span, width=32, n_groups=n_groups)
    cuts = {tuple(table.shards()) for table in tables.values()}
    assert len(cuts) == 1
    units = region_units(tables)
    assert [(unit["start"], unit["stop"]) for unit in units] == list(cuts.pop())
    assert len(units) >= min(16, n_regions)
    for table in tables.values():
        assert table.shard_rows % table.chunk_rows == 0
        row_bytes = table.n_bytes / n_regions
        assert table.shard_rows == 1 or table.shard_rows * row_bytes <= 32 << 20
        assert table.chunk_rows == 1 or table.chunk_rows * row_bytes <= 1 << 20
    assert ("X" in tables) == (n_groups is not None) == ("obsm/ism_scores" in tables)


@pytest.mark.ray
@pytest.mark.slow
def test_two_workers_write_the_same_bits(tmp_path, rng):
    model = write_model(tmp_path / "model", random_weights(rng, 6))
    genome = write_fasta(tmp_path / "genome.fa", random_chromosomes(rng, {"chr1": 2000}))
    (tmp_path / "r.bed").write_text("".join(f"chr1\t{90 * i}\t{90 * i + 50}\n" for i in range(20)))
    given = {"genome": genome, "regions": tmp_path / "r.bed", "span": 9, "group_by": "n_peaks"}
    ism(model, out=tmp_path / "one", compute="fp32", **given)
    with own_ray():
        ism(model, out=tmp_path / "two", workers=2, compute="fp32", **given)
    one, two = (anndata.read_zarr(tmp_path / name) for name in ("one", "two"))
    for name in ("ism", "ism_scores", "codes", "scbasset_sequence"):
        np.testing.assert_array_equal(one.obsm[name], two.obsm[name])
    np.testing.assert_array_equal(one.X, two.X)
