from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr

from atlasstore import _result_writer, formats, urls
from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError
from atlasstore.events import Progress
from atlasstore.inspect_store import inspect_store, open_store
from atlasstore.results import DensePlan, Factors, Result, plan_dense, write_anndata, write_result

N, P, E = 50, 30, 5


@pytest.fixture
def factors(rng):
    return Factors(
        obs=pd.DataFrame({"kind": ["a", "b"] * (N // 2)}, index=[f"cell{i}" for i in range(N)]),
        var=pd.DataFrame({"chrom": "chr1", "start": range(P)}, index=[f"p{i}" for i in range(P)]),
        cell_embedding=rng.normal(size=(N, E)).astype(np.float32),
        intercept=rng.normal(size=N).astype(np.float32),
        sequence=rng.normal(size=(P, E)).astype(np.float32),
    )


SMALL = DensePlan((N, P), "float32", chunk_cells=4, shard_cells=16)


def write(url, factors, plan, *, skip=None):
    table = factors.cell_embedding @ factors.sequence.T
    options = {"about": {"scale": "linear"}, "provenance": formats.provenance([], {}, None)}
    with write_result(url, factors, dense=plan, **options) as writer:
        for start, stop in plan.shards() if plan else ():
            if start != skip:
                writer.write(start, table[start:stop].astype(plan.dtype))
    return table


@pytest.mark.parametrize("url", ["local", "memory://test_results/r"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_anndata_opens_it_by_itself(factors, tmp_path, url, dtype):
    url = str(tmp_path / "r") if url == "local" else f"{url}-{dtype}"
    table = write(url, factors, DensePlan((N, P), dtype, chunk_cells=4, shard_cells=16))
    found = anndata.read_zarr(urls.zarr_store(url, read_only=True))
    np.testing.assert_array_equal(found.X, table.astype(dtype))
    np.testing.assert_array_equal(found.obsm["X_scbasset"], factors.cell_embedding)
    np.testing.assert_array_equal(found.varm["scbasset_sequence"], factors.sequence)
    np.testing.assert_array_equal(found.obs["scbasset_intercept"], factors.intercept)
    assert list(found.obs["kind"]) == list(factors.obs["kind"])
    pd.testing.assert_index_equal(found.var_names, factors.var.index)
    assert found.uns["scbasset"]["scale"] == "linear"


@pytest.mark.parametrize("plan", [SMALL, None], ids=["dense", "factored"])
def test_anndata_opens_it_lazily(factors, tmp_path, plan):
    pytest.importorskip("xarray", reason="xarray is not installed: pip install 'anndata[lazy]'")
    table = write(tmp_path / "r", factors, plan)
    found = anndata.experimental.read_lazy(tmp_path / "r")
    assert found.shape == (N, P)
    if plan is None:
        assert found.X is None
        return
    assert found.X.chunksize[1] == P  # a dask array: nothing is read yet
    np.testing.assert_array_equal(found.X[17:19].compute(), table[17:19])


def test_stored_as_the_specification_has_it(factors, tmp_path):
    write(tmp_path / "r", factors, SMALL)
    group = zarr.open_consolidated(str(tmp_path / "r"))
    assert {"X", "obs", "var", "obsm", "varm", "uns"} <= set(group)  # all in the metadata
    array = group["X"]
    assert (array.shards, array.chunks) == ((16, P), (4, P))
    sharding = array.metadata.to_dict()["codecs"][0]
    assert sharding["configuration"]["index_location"] == "start"
    inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
    assert inner == ["bytes", "blosc", "crc32c"]
    assert array.attrs["encoding-type"] == "array"
    assert group.attrs["encoding-type"] == "anndata"
    assert group.attrs["format"] == formats.RESULT


def test_reading_back(factors, tmp_path):
    table = write(tmp_path / "r", factors, SMALL)
    found = open_store(tmp_path / "r")
    assert isinstance(found, Result)
    assert (found.n_cells, found.n_peaks) == (N, P)
    assert repr(found).endswith(f"{N} cells x {P} peaks)")
    np.testing.assert_allclose(found.linear(7, 9), table[7:9], rtol=1e-6)
    np.testing.assert_array_equal(found.dense[:], table)
    assert list(found.var.columns) == ["chrom", "start"]
    assert found.about["scale"] == "linear"
    assert found.provenance["packages"]["zarr"] == zarr.__version__
    events = []
    found.verify(on_event=events.append)
    assert events[-1] == Progress("checking predictions", N, N, "cells")
    summary = inspect_store(tmp_path / "r", verify=True)
    assert (summary.format, summary.sizes["dense_dtype"]) == (formats.RESULT, "float32")
    write(tmp_path / "factored", factors, None)
    assert Result.open(tmp_path / "factored").dense is None
    assert inspect_store(tmp_path / "factored", verify=True).sizes["dense_dtype"] is None


def test_whole_or_not_at_all(factors, tmp_path):
    with pytest.raises(ValueError, match="1 shards were not written"):
        write(tmp_path / "r", factors, SMALL, skip=16)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "r", factors, SMALL)
    with pytest.raises(StoreExistsError, match="exists already"):
        write(tmp_path / "r", factors, SMALL)


def test_unfinished_on_an_object_store(factors):
    url = "memory://test_results/unfinished"
    options = {"about": {}, "provenance": {}, "dense": None}
    with write_result(url, factors, **options), pytest.raises(NotAStoreError, match="incomplete"):
        Result.open(url)
    assert Result.open(url).n_cells == N


def test_only_planned_shards_are_written(factors, tmp_path):
    def writing(start, rows, plan=SMALL):
        with write_result(tmp_path / "r", factors, dense=plan, about={}, provenance={}) as writer:
            writer.write(start, np.zeros((rows, P), np.float32))

    for start, rows, message in [(4, 16, "no shard"), (0, 15, "no shard"), (48, 3, "no shard")]:
        with pytest.raises(ValueError, match=message):
            writing(start, rows)
    with pytest.raises(ValueError, match="no dense table"):
        writing(0, 16, plan=None)


def test_verify_finds_damage(factors, tmp_path):
    write(tmp_path / "r", factors, SMALL)
    pieces = sorted(p for p in (tmp_path / "r/X").rglob("*") if p.is_file() and p.suffix != ".json")
    content = bytearray(pieces[1].read_bytes())
    content[len(content) // 2] ^= 1
    pieces[1].write_bytes(bytes(content))
    with pytest.raises(CorruptStoreError, match="array X, rows 16 to 32"):
        Result.open(tmp_path / "r").verify()
    pieces[1].unlink()
    with pytest.raises(CorruptStoreError, match="array X has 3 of its 4"):
        Result.open(tmp_path / "r").verify()


@pytest.mark.parametrize(
    "name",
    [
        "obsm/X_scbasset",
        "varm/scbasset_sequence",
        "obs/scbasset_intercept",
        "obs/kind",
        "var/start",
    ],
)
@pytest.mark.parametrize("plan", [SMALL, None], ids=["dense", "factored"])
def test_verify_finds_what_is_missing(factors, tmp_path, name, plan):
    write(tmp_path / "r", factors, plan)
    files = (tmp_path / "r" / name).rglob("*")
    max(f for f in files if f.is_file() and f.name != "zarr.json").unlink()
    with pytest.raises(CorruptStoreError, match=f"array {name}.* has 0 of its 1"):
        Result.open(tmp_path / "r").verify()


def test_tables_of_nothing_are_whole(factors, tmp_path):
    obs = factors.obs.assign(empty=pd.Categorical([None] * N), kind=None)
    write(tmp_path / "r", replace(factors, obs=obs), None)
    Result.open(tmp_path / "r").verify()


def test_plan(monkeypatch):
    plan = plan_dense(1_000_000, 118_000, dtype="float16")
    assert plan.n_bytes == 236_000_000_000
    assert plan.chunk_cells * 118_000 * 2 <= 1 << 20
    assert plan.shard_cells * 118_000 * 2 <= 32 << 20
    assert plan.shard_cells % plan.chunk_cells == 0
    covered = [range(*shard) for shard in DensePlan((50, 3), "float32", 4, 16).shards()]
    assert [row for shard in covered for row in shard] == list(range(50))
    monkeypatch.setattr(_result_writer, "_SHARD_BYTES", 1)
    assert plan_dense(5, 10, dtype="float32").shard_cells >= 1


def test_write_anndata(factors, tmp_path):
    table = anndata.AnnData(obs=factors.obs, obsm={"X_scbasset": factors.cell_embedding})
    write_anndata(table, tmp_path / "cells.zarr")
    found = anndata.read_zarr(tmp_path / "cells.zarr")
    np.testing.assert_array_equal(found.obsm["X_scbasset"], factors.cell_embedding)
    assert zarr.open_group(tmp_path / "cells.zarr").metadata.zarr_format == 3
    with pytest.raises(StoreExistsError):
        write_anndata(table, tmp_path / "cells.zarr")
