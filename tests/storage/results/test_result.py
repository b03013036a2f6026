from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr

from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.inspect_store import inspect_store, open_store
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, finish_result, write_anndata, write_rows
from atlasstore.zarrio import formats
from atlasstore.zarrio.table_plan import TablePlan

N, P, E = 50, 30, 5
RNG = np.random.default_rng(7)
CELLS = RNG.normal(size=(N, E)).astype(np.float32)
SEQUENCES = RNG.normal(size=(P, E)).astype(np.float32)
TABLE = CELLS @ SEQUENCES.T
EFFECTS = RNG.normal(size=(N, 6, 4)).astype(np.float32)
OBS = pd.DataFrame({"kind": ["a", "b"] * (N // 2)}, index=[f"cell{i}" for i in range(N)])
VAR = pd.DataFrame({"chrom": "chr1", "start": range(P)}, index=[f"p{i}" for i in range(P)])
PLAN = TablePlan("X", (N, P), "float32", chunk_rows=4, shard_rows=16)
BESIDE = TablePlan("obsm/ism", EFFECTS.shape, "float32", chunk_rows=4, shard_rows=16)
PROVENANCE = formats.provenance([], {"asked": 1}, None, created="2026-01-01T00:00:00+00:00")


def create(url, *plans, obs=OBS, about=None, added=0):
    create_result(
        url,
        kind="denoised",
        obs=obs,
        var=VAR,
        obsm={"X_scbasset": CELLS + added},
        varm={"scbasset_sequence": SEQUENCES + added},
        tables=plans,
        about={"scale": "linear"} if about is None else about,
    )


def fill(url, plan, values, *, skip=None):
    starts = [shard for shard in plan.shards() if shard[0] != skip]
    return [write_rows(url, plan, a, values[a:b].astype(plan.dtype)) for a, b in starts]


def write(url, *, plan=PLAN):
    """Write a whole result; its root is there when all else is."""
    create(url, *([plan] if plan else []))
    shards = fill(url, plan, TABLE) if plan else []
    finish_result(url, PROVENANCE, shards=shards)


@pytest.mark.parametrize("url", ["local", "memory://test_results/r"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_anndata_opens_it_by_itself(tmp_path, url, dtype):
    url = str(tmp_path / "r") if url == "local" else f"{url}-{dtype}"
    write(url, plan=TablePlan("X", (N, P), dtype, chunk_rows=4, shard_rows=16))
    found = anndata.read_zarr(urls.zarr_store(url, read_only=True))
    np.testing.assert_array_equal(found.X, TABLE.astype(dtype))
    np.testing.assert_array_equal(found.obsm["X_scbasset"], CELLS)
    np.testing.assert_array_equal(found.varm["scbasset_sequence"], SEQUENCES)
    assert list(found.obs["kind"]) == list(OBS["kind"])
    pd.testing.assert_index_equal(found.var_names, VAR.index)
    assert found.uns["scbasset"]["scale"] == "linear"
    assert json.loads(found.uns["scbasset"]["provenance"])["config"] == {"asked": 1}


@pytest.mark.parametrize("plan", [PLAN, None], ids=["dense", "factored"])
def test_anndata_opens_it_lazily(tmp_path, plan):
    pytest.importorskip("xarray", reason="xarray is not installed: pip install 'anndata[lazy]'")
    write(tmp_path / "r", plan=plan)
    found = anndata.experimental.read_lazy(tmp_path / "r")
    assert found.shape == (N, P)
    if plan is None:
        assert found.X is None
        return
    assert found.X.chunksize[1] == P  # a dask array: nothing is read yet
    np.testing.assert_array_equal(found.X[17:19].compute(), TABLE[17:19])


def test_stored_as_the_specification_has_it(tmp_path):
    write(tmp_path / "r")
    group = zarr.open_consolidated(str(tmp_path / "r"))
    assert {"X", "obs", "var", "obsm", "varm", "uns"} <= set(group)  # all in the metadata
    array = group["X"]
    assert (array.shards, array.chunks) == ((16, P), (4, P))
    sharding = array.metadata.to_dict()["codecs"][0]
    assert sharding["configuration"]["index_location"] == "start"
    inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
    assert inner == ["bytes", "blosc", "crc32c"]
    assert array.attrs["encoding-type"] == "array"
    for name in ("uns", "uns/scbasset"):
        assert group[name].attrs["encoding-type"] == "dict"
    assert group.attrs["encoding-type"] == "anndata"
    assert group.attrs["format"] == formats.RESULT


def test_reading_back(tmp_path):
    write(tmp_path / "r")
    found = open_store(tmp_path / "r")
    assert isinstance(found, Result)
    assert (found.kind, found.n_obs, found.n_vars) == ("denoised", N, P)
    assert repr(found).endswith(f"denoised, {N} cells x {P} peaks)")
    np.testing.assert_allclose(found.linear(7, 9), TABLE[7:9], rtol=1e-6)
    np.testing.assert_array_equal(found.dense[:], TABLE)
    np.testing.assert_array_equal(found.rows("X", 11, 37), TABLE[11:37])
    assert found.rows("X", 3, 3).shape == (0, P)
    assert list(found.var.columns) == ["chrom", "start"]
    assert found.tables == ("X", "obsm/X_scbasset", "varm/scbasset_sequence")
    assert found.about["scale"] == "linear"
    assert found.provenance["packages"]["zarr"] == zarr.__version__
    events = []
    found.verify(on_event=events.append)
    assert events[-1] == Progress("checking tables", N + N + P, N + N + P, "rows")
    summary = inspect_store(tmp_path / "r", verify=True)
    assert (summary.format, summary.sizes["dense_dtype"]) == (formats.RESULT, "float32")
    assert (summary.sizes["n_cells"], summary.sizes["n_peaks"]) == (N, P)
    write(tmp_path / "factored", plan=None)
    assert Result.open(tmp_path / "factored").dense is None
    assert inspect_store(tmp_path / "factored", verify=True).sizes["dense_dtype"] is None


def test_several_tables_and_another_kind(tmp_path):
    url = str(tmp_path / "r")
    create_result(
        url,
        kind="ism",
        obs=OBS,
        var=VAR,
        obsm={"scbasset_sequence": CELLS},
        varm={"X_scbasset": SEQUENCES},
        tables=[PLAN, BESIDE],
    )
    shards = fill(url, BESIDE, EFFECTS) + fill(url, PLAN, TABLE)
    finish_result(url, PROVENANCE, shards=shards)
    found = Result.open(url)
    found.verify()
    assert repr(found).endswith(f"ism, {N} regions x {P} groups)")
    np.testing.assert_array_equal(found.table("obsm/ism")[:], EFFECTS)
    np.testing.assert_array_equal(anndata.read_zarr(url).obsm["ism"], EFFECTS)
    np.testing.assert_allclose(found.linear(7, 9), TABLE[7:9], rtol=1e-6)
    with pytest.raises(CorruptStoreError, match="array obsm/other is absent"):
        found.table("obsm/other")


@pytest.mark.parametrize("url", ["local", "memory://test_results/unfinished"])
def test_nobody_opens_it_before_it_is_whole(tmp_path, url):
    url = str(tmp_path / "r") if url == "local" else url
    create(url, PLAN)
    shards = fill(url, PLAN, TABLE, skip=16)
    with pytest.raises(CorruptStoreError, match="array X has 3 of its 4 stored pieces"):
        finish_result(url, PROVENANCE, shards=shards)
    with pytest.raises(NotAStoreError):
        Result.open(url)
    shards = fill(url, PLAN, TABLE)
    finish_result(url, PROVENANCE, shards=shards)
    Result.open(url).verify()


def test_an_unfinished_one_is_told_from_nothing(tmp_path):
    urls.write_bytes(tmp_path / "r.partial" / "run.json", b"{}")
    with pytest.raises(NotAStoreError, match="r is incomplete: the job that makes it"):
        Result.open(tmp_path / "r")
    with pytest.raises(NotAStoreError, match="r is incomplete: the job that makes it"):
        inspect_store(tmp_path / "r")
    with pytest.raises(NotAStoreError, match="does not exist"):
        Result.open(tmp_path / "s")


def test_two_writers_at_once_write_the_same_bytes_and_one_publishes():
    def stored():
        fs, root = urls.filesystem(url)
        return {path: fs.cat_file(path) for path in fs.find(root)}

    url = "memory://test_results/two"
    create(url, PLAN)
    shards = fill(url, PLAN, TABLE)
    create(url, PLAN)  # the other one begins late, over what is there
    finish_result(url, PROVENANCE, shards=shards)
    published = stored()
    create(url, PLAN)
    fill(url, PLAN, TABLE)
    assert stored() == published
    with pytest.raises(StoreExistsError, match="published meanwhile"):
        finish_result(url, PROVENANCE, shards=shards)
    assert stored() == published


def test_the_root_is_created_where_there_is_none(monkeypatch):
    """The other one publishes between the look and the write."""
    url = "memory://test_results/race"
    create(url)
    monkeypatch.setattr("atlasstore.zarrio.publish.create_bytes", lambda _url, _content: False)
    with pytest.raises(StoreExistsError, match="published meanwhile"):
        finish_result(url, PROVENANCE)


def test_only_planned_shards_are_written(tmp_path):
    create(tmp_path / "r", PLAN)
    for start, rows, message in [(4, 16, "no shard"), (0, 15, "no shard"), (48, 3, "no shard")]:
        with pytest.raises(ValueError, match=message):
            write_rows(tmp_path / "r", PLAN, start, np.zeros((rows, P), np.float32))
    with pytest.raises(ValueError, match="float64 given for"):
        write_rows(tmp_path / "r", PLAN, 0, np.zeros((16, P)))
    with pytest.raises(NotAStoreError, match="table obsm/ism is gone"):
        write_rows(tmp_path / "r", BESIDE, 0, EFFECTS[:16])


def damage_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [damage_bit, truncate])
def test_a_damaged_shard_is_named_by_every_reader(tmp_path, damage):
    write(tmp_path / "r")
    damage(tmp_path / "r/X/c.1.0")
    found = Result.open(tmp_path / "r")
    for read in (found.verify, lambda: found.rows("X"), lambda: found.rows("X", 10, 32)):
        with pytest.raises(CorruptStoreError, match=r"shard X/c\.1\.0 \(array X, rows 16 to 32\)"):
            read()
    np.testing.assert_array_equal(found.rows("X", 0, 16), TABLE[:16])
    with pytest.raises((ValueError, RuntimeError)):
        anndata.read_zarr(tmp_path / "r")


@pytest.mark.parametrize("damage", [Path.unlink, empty])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_lost_shard_is_named(tmp_path, damage, dtype):
    write(tmp_path / "r", plan=TablePlan("X", (N, P), dtype, chunk_rows=4, shard_rows=16))
    damage(tmp_path / "r/X/c.1.0")
    found = Result.open(tmp_path / "r")
    with pytest.raises(CorruptStoreError, match="array X has 3 of its 4"):
        found.verify()
    with pytest.raises(CorruptStoreError, match=r"shard X/c\.1\.0 .* (is absent|is too short)"):
        found.rows("X")
    if dtype == "float32" and damage is Path.unlink:  # anndata alone shows no number
        assert np.isnan(anndata.read_zarr(tmp_path / "r").X[16:32]).all()


def test_a_sound_shard_in_another_ones_place_is_found(tmp_path):
    write(tmp_path / "r")
    (tmp_path / "r/X/c.1.0").write_bytes((tmp_path / "r/X/c.0.0").read_bytes())
    with pytest.raises(CorruptStoreError, match=r"X/c\.1\.0 does not hold what was written"):
        Result.open(tmp_path / "r").verify()


@pytest.mark.parametrize("name", ["obsm/X_scbasset", "varm/scbasset_sequence"])
def test_a_small_table_of_another_result_is_found(tmp_path, name):
    for added in (0, 1):
        create(tmp_path / f"{added}", added=np.float32(added))
        finish_result(tmp_path / f"{added}", PROVENANCE)
    shard = next(f for f in (tmp_path / "0" / name).iterdir() if f.name != "zarr.json")
    shard.write_bytes((tmp_path / "1" / name / shard.name).read_bytes())
    with pytest.raises(CorruptStoreError, match=f"{name}/{shard.name} does not hold what was"):
        Result.open(tmp_path / "0").verify()


@pytest.mark.parametrize(
    "name", ["obsm/X_scbasset", "varm/scbasset_sequence", "obs/kind", "var/start"]
)
@pytest.mark.parametrize("plan", [PLAN, None], ids=["dense", "factored"])
def test_verify_finds_what_is_missing(tmp_path, name, plan):
    write(tmp_path / "r", plan=plan)
    files = (tmp_path / "r" / name).rglob("*")
    max(f for f in files if f.is_file() and f.name != "zarr.json").unlink()
    with pytest.raises(CorruptStoreError, match=f"array {name}.* has 0 of its 1"):
        Result.open(tmp_path / "r").verify()


def test_tables_of_nothing_are_whole(tmp_path):
    obs = OBS.assign(empty=pd.Categorical([None] * N), kind=None)
    create(tmp_path / "r", obs=obs)
    finish_result(tmp_path / "r", PROVENANCE)
    Result.open(tmp_path / "r").verify()


def test_write_anndata(tmp_path):
    obs = OBS.assign(text=pd.array(["x", "y"] * N, dtype="string")[:N])
    table = anndata.AnnData(obs=obs, obsm={"X_scbasset": CELLS})
    write_anndata(table, tmp_path / "cells.zarr")
    found = anndata.read_zarr(tmp_path / "cells.zarr")
    assert found.obs["text"].dtype == "category"
    assert list(found.obs["text"]) == list(obs["text"])
    np.testing.assert_array_equal(found.obsm["X_scbasset"], CELLS)
    assert zarr.open_group(tmp_path / "cells.zarr").metadata.zarr_format == 3
    with pytest.raises(StoreExistsError):
        write_anndata(table, tmp_path / "cells.zarr")


def test_a_shard_costs_the_same_in_a_long_plan(tmp_path, monkeypatch):
    def counted(_plan):
        raise AssertionError

    create(tmp_path / "r", PLAN)
    monkeypatch.setattr(TablePlan, "shards", counted)
    values = TABLE.astype(np.float32)
    assert write_rows(tmp_path / "r", PLAN, 48, values[48:])["start"] == 48
    for start, rows in ((8, values[8:24]), (64, values[:0]), (-16, values[:16]), (32, values[32:])):
        with pytest.raises(ValueError, match="are no shard of"):
            write_rows(tmp_path / "r", PLAN, start, rows)
