from __future__ import annotations

import anndata
import dask
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from atlasstore import memory
from atlasstore.errors import CorruptStoreError, TooLittleMemoryError, UserInputError
from atlasstore.results import _lazy_tables
from atlasstore.results._lazy_tables import PredictedTable, StoredTable, _run
from atlasstore.results.as_anndata import predicted, result_anndata
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.zarrio import formats
from atlasstore.zarrio.table_plan import plan_table

N, P, E = 60, 41, 5
RNG = np.random.default_rng(3)
CELLS = RNG.normal(size=(N, E)).astype(np.float32)
PEAKS = RNG.normal(size=(P, E)).astype(np.float32)
INTERCEPT = RNG.normal(size=N).astype(np.float32)
LINEAR = CELLS @ PEAKS.T
EXPECTED = {
    "linear": LINEAR,
    "sigmoid": expit(LINEAR),
    "probability": expit(LINEAR + INTERCEPT[:, None]),
}


def obs():
    table = pd.DataFrame({"kind": ["a", "b"] * (N // 2)}, index=[f"cell{i}" for i in range(N)])
    return table.assign(scbasset_intercept=INTERCEPT)


def var(n=P):
    return pd.DataFrame({"chrom": "chr1", "start": range(n)}, index=[f"p{i}" for i in range(n)])


def write(url, *, x=None, **parts):
    parts = {
        "kind": "denoised",
        "obs": obs(),
        "var": var(),
        "obsm": {"X_scbasset": CELLS},
        "varm": {"scbasset_sequence": PEAKS},
        "about": {"scale": "linear"},
    } | parts
    plans = [] if x is None else [plan_table("X", x.shape, str(x.dtype))]
    create_result(url, tables=plans, **parts)
    shards = [write_rows(url, p, start, x[start:stop]) for p in plans for start, stop in p.shards()]
    finish_result(url, formats.provenance([], {}, None), shards=shards)
    return Result.open(url)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_lazy_tables, "_BLOCK_BYTES", 4 * 7 * 7)
    monkeypatch.setattr(_lazy_tables, "_BAND_ROWS", 16)


@pytest.mark.parametrize("url", ["local", "memory://test_result_lazy/r"])
@pytest.mark.parametrize("scale", list(EXPECTED))
def test_factored(small_blocks, tmp_path, url, scale):
    url = str(tmp_path / "r") if url == "local" else f"{url}-{scale}"
    result = write(url, about={"scale": scale})
    lazy, expected = result_anndata(result, lazy=True), EXPECTED[scale]
    assert max(lazy.X.numblocks) > 5
    assert lazy.X.dtype == np.float32
    close = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(lazy.X.compute(), expected, **close)
    np.testing.assert_allclose(lazy[3:30, 5:9].X.compute(), expected[3:30, 5:9], **close)
    np.testing.assert_allclose(lazy["cell7"].X.compute(), expected[[7]], **close)
    np.testing.assert_allclose(lazy[:, "p3"].X.compute(), expected[:, [3]], **close)
    assert lazy[5:5].X.compute().shape == (0, P)
    assert lazy[:, :0].X.compute().shape == (N, 0)
    chosen = lazy[lazy.obs["kind"] == "a", ["p9", "p2", "p40"]]
    np.testing.assert_allclose(chosen.X.compute(), expected[::2][:, [9, 2, 40]], **close)
    np.testing.assert_allclose(predicted(chosen), expected[::2][:, [9, 2, 40]], **close)
    whole = result_anndata(result, lazy=False)
    np.testing.assert_allclose(whole.X, expected, **close)
    np.testing.assert_allclose(predicted(whole[5:7]), expected[5:7], **close)
    pd.testing.assert_frame_equal(lazy.obs, whole.obs)
    np.testing.assert_array_equal(lazy.obsm["X_scbasset"].compute(), CELLS)
    assert lazy.uns["scbasset"]["scale"] == scale


def test_only_what_is_asked_for_is_multiplied(tmp_path, monkeypatch):
    made, on_scale = [], _lazy_tables.on_scale

    def counted(*args):
        block = on_scale(*args)
        made.append(block.shape)
        return block

    lazy = result_anndata(write(tmp_path / "r"), lazy=True)
    monkeypatch.setattr(_lazy_tables, "on_scale", counted)
    part = lazy[4:10, 3:5].X
    assert made == []
    part.compute()
    assert made == [(6, 2)]


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_a_stored_x_is_read_as_it_is(small_blocks, tmp_path, dtype):
    x = (LINEAR * 10).astype(dtype)
    lazy = write(tmp_path / "r", x=x).to_anndata(lazy=True)
    assert lazy.X.dtype == dtype
    np.testing.assert_array_equal(lazy.X.compute(), x)
    np.testing.assert_array_equal(lazy[::-1][3:20:4].X.compute(), x[::-1][3:20:4])
    np.testing.assert_array_equal(write(tmp_path / "s", x=x).to_anndata(lazy=False).X, x)


def test_mutagenesis_has_its_factors_the_other_way_round(tmp_path):
    effects = RNG.normal(size=(P, 9, 4, E)).astype(np.float32)
    result = write(
        tmp_path / "r",
        kind="ism",
        obs=var(),
        var=obs(),
        obsm={"scbasset_sequence": PEAKS, "ism": effects},
        varm={"X_scbasset": CELLS},
        about={},
    )
    lazy = result_anndata(result, lazy=True)
    np.testing.assert_allclose(lazy.X.compute(), LINEAR.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(predicted(lazy[[4, 1]]), LINEAR.T[[4, 1]], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(lazy[3:8].obsm["ism"].compute(), effects[3:8])


def test_tf_activity_is_never_predicted(tmp_path):
    parts = {"kind": "tf_activity", "about": {}}
    z = RNG.normal(size=(N, P)).astype(np.float32)
    lazy = result_anndata(write(tmp_path / "stored", x=z, **parts), lazy=True)
    np.testing.assert_array_equal(lazy.X.compute(), z)
    assert result_anndata(write(tmp_path / "without", **parts), lazy=True).X is None
    with pytest.raises(UserInputError, match="X cannot be predicted here"):
        predicted(lazy)


def test_nothing_to_predict_from():
    with pytest.raises(UserInputError, match="must hold X_scbasset and scbasset_sequence"):
        predicted(anndata.AnnData(obs=obs(), var=var()))


def test_a_table_larger_than_memory_is_refused(tmp_path, monkeypatch):
    result = write(tmp_path / "r")
    monkeypatch.setattr(memory, "free_bytes", lambda: N * P * 4)
    with pytest.raises(TooLittleMemoryError, match="open it with lazy=True"):
        result_anndata(result, lazy=False)
    assert result_anndata(result, lazy=True).shape == (N, P)


def test_blocks_are_computed_in_other_processes(small_blocks, tmp_path):
    lazy = result_anndata(write(tmp_path / "r"), lazy=True)
    lazy.X[:2].compute()  # what this process has opened stays here
    with dask.config.set(scheduler="processes", num_workers=1):
        found = lazy.X[:20, :20].compute()
    np.testing.assert_allclose(found, LINEAR[:20, :20], rtol=1e-5, atol=1e-6)


def test_a_table_travels_as_its_url(tmp_path):
    url = str(write(tmp_path / "r", x=LINEAR).url)
    stored = StoredTable(url, (N, P), np.dtype(np.float32), "X", 4)
    names = ("X_scbasset", "scbasset_sequence")
    factored = PredictedTable(url, (N, P), np.dtype(np.float32), names, "linear")
    for table in (stored, factored):
        table[:3, :3]
        kind, values = table.__reduce__()
        assert {type(value) for value in values} <= {
            str, int, tuple, dict, type(np.dtype(np.float32)),
        }  # fmt: skip
        np.testing.assert_allclose(kind(*values)[:3, :3], LINEAR[:3, :3], rtol=1e-5, atol=1e-6)


def test_damage_is_named(tmp_path):
    lazy = result_anndata(write(tmp_path / "r", x=LINEAR), lazy=True)
    piece = next(p for p in (tmp_path / "r/X").rglob("*") if p.is_file() and p.suffix != ".json")
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 1
    piece.write_bytes(bytes(content))
    with pytest.raises(CorruptStoreError, match=f"shard X/{piece.name}"):
        lazy[:2].X.compute()


@given(
    size=st.integers(1, 9),
    index=st.one_of(
        st.slices(9),
        st.integers(0, 8),
        st.lists(st.integers(-9, 8), max_size=5),
    ),
)
@settings(deadline=None)
def test_runs_hold_what_is_taken(size, index):
    values = np.arange(size)
    if isinstance(index, int) and index >= size:
        return
    if isinstance(index, list):
        index = [i for i in index if -size <= i < size]
    start, stop, within = _run(index, size)
    expected = values[np.asarray(index, int)] if isinstance(index, list) else values[index]
    np.testing.assert_array_equal(values[start:stop][within], expected)
    assert 0 <= start <= stop <= size
    if np.size(expected):
        assert (start, stop) == (np.min(expected), np.max(expected) + 1)
