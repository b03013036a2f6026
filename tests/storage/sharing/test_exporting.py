"""Parts of a result as files: the same values as the result's, whatever file they go to."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasstore
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.files import urls
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.sharing.exporting import export_result, plan_export
from atlasstore.zarrio.table_plan import plan_table

N, P, E = 37, 23, 4
OBS = pd.DataFrame(
    {
        "type": pd.Categorical(["T", "B", "NK"] * 12 + ["B"]),
        "donor": [str(n % 2) for n in range(N)],
        "scbasset_intercept": np.linspace(-1, 1, N, dtype=np.float32),
    },
    index=[f"cell{n}" for n in range(N)],
)
VAR = pd.DataFrame(
    {"chrom": "chr1", "start": np.arange(P) * 100, "end": np.arange(P) * 100 + 50},
    index=[f"chr1:{n * 100}-{n * 100 + 50}" for n in range(P)],
)


def make(url, *, dense: str | None, scale: str = "linear", var=VAR, **about: str):
    rng = np.random.default_rng(4)
    left = rng.normal(size=(N, E)).astype(np.float32)
    right = rng.normal(size=(P, E)).astype(np.float32)
    tables = [] if dense is None else [plan_table("X", (N, P), dense)]
    create_result(
        str(url),
        kind="denoised",
        obs=OBS,
        var=var,
        obsm={"X_scbasset": left},
        varm={"scbasset_sequence": right},
        tables=tables,
        about={"scale": scale, **about},
    )
    shards = []
    if tables:
        drawn = (rng.random((N, P)) * 200).astype(dense)
        shards = [write_rows(str(url), tables[0], 0, drawn)]
    finish_result(str(url), {"seed": 2}, shards=shards)
    return str(url)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module", params=["float32", "uint8", "linear", "probability"])
def result(folder, request):
    """Results with a stored X, and results whose X is predicted."""
    if request.param in ("float32", "uint8"):
        return make(folder / request.param, dense=request.param)
    return make(folder / request.param, dense=None, scale=request.param)


def export_in_bands(result, *, out, band_bytes=700, **options):
    plan = plan_export(result, out=out, **options)
    return replace(plan, part=replace(plan.part, band_bytes=band_bytes)).run()


def assert_equal(result, found, wanted):
    """Stored values exactly; products of other shapes are rounded otherwise in the last digit."""
    if atlasstore.open(result).dense is not None:
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def expected(result, rows, columns):
    return np.asarray(atlasstore.open(result).to_anndata(lazy=False).X)[np.ix_(rows, columns)]


CHOSEN = {"where": ["type=T", "type=NK", "donor=1"], "peaks": ["chr1:310-520", "chr1:2000-2050"]}
ROWS = [n for n in range(N) if OBS["type"].iloc[n] in ("T", "NK") and n % 2 == 1]
COLUMNS = [3, 4, 5, 20]


def test_h5ad(result, tmp_path):
    export_in_bands(result, out=tmp_path / "part.h5ad", **CHOSEN)
    found = anndata.read_h5ad(tmp_path / "part.h5ad")
    assert_equal(result, found.X, expected(result, ROWS, COLUMNS))
    assert found.X.dtype == expected(result, ROWS, COLUMNS).dtype
    whole = atlasstore.open(result).to_anndata(lazy=False)
    pd.testing.assert_frame_equal(found.obs, whole.obs.iloc[ROWS], check_categorical=False)
    pd.testing.assert_frame_equal(found.var, whole.var.iloc[COLUMNS])
    np.testing.assert_array_equal(found.obsm["X_scbasset"], whole.obsm["X_scbasset"][ROWS])
    assert found.uns["scbasset"]["scale"] == whole.uns["scbasset"]["scale"]


def test_everything(result, tmp_path):
    report = export_in_bands(result, out=tmp_path / "all.h5ad")
    assert (report.n_rows, report.n_columns) == (N, P)
    found = anndata.read_h5ad(tmp_path / "all.h5ad")
    assert_equal(result, found.X, expected(result, range(N), range(P)))


@pytest.mark.parametrize("suffix", ["parquet", "tsv", "csv.gz"])
def test_tables(result, tmp_path, suffix):
    out = tmp_path / f"part.{suffix}"
    export_in_bands(result, out=out, **CHOSEN)
    separator = "\t" if suffix == "tsv" else ","
    found = pd.read_parquet(out) if suffix == "parquet" else pd.read_csv(out, sep=separator)
    assert list(found.columns) == ["name", *VAR.index[COLUMNS]]
    assert list(found["name"]) == list(OBS.index[ROWS])
    wanted = expected(result, ROWS, COLUMNS)
    np.testing.assert_allclose(found.iloc[:, 1:], wanted, rtol=1e-5, atol=1e-6)


STEPS = {
    "linear": ("X * var.scbasset_scale + var.scbasset_offset", np.linspace(0.1, 2, P), 3.0),
    "sigmoid": ("X / 255", np.full(P, 1 / 255), 0.0),
}


@pytest.mark.parametrize("scale", STEPS)
def test_steps_are_given_as_numbers(tmp_path, scale):
    value, step, offset = STEPS[scale]
    is_linear = scale == "linear"
    var = VAR.assign(scbasset_scale=step, scbasset_offset=offset) if is_linear else VAR
    url = make(tmp_path / "r", dense="uint8", scale=scale, var=var, value=value, largest_error="0")
    wanted = (expected(url, ROWS, COLUMNS) * step[COLUMNS] + offset).astype(np.float32)
    for name in ("part.h5ad", "part.parquet"):
        export_result(url, out=tmp_path / name, decoded=True, **CHOSEN)
    found = anndata.read_h5ad(tmp_path / "part.h5ad")
    assert found.X.dtype == np.float32
    np.testing.assert_allclose(found.X, wanted, rtol=1e-6)
    assert list(found.var.columns) == list(VAR.columns)
    assert set(found.uns["scbasset"]) >= {"scale", "largest_error"}
    assert "value" not in found.uns["scbasset"]
    table = pd.read_parquet(tmp_path / "part.parquet").set_index("name")
    np.testing.assert_allclose(table, wanted, rtol=1e-6)
    plan = plan_export(url, out=tmp_path / "n.tsv", decoded=True, **CHOSEN)
    assert "float32, decoded" in str(plan)


def test_what_is_no_step_is_as_it_is(result, tmp_path):
    export_result(result, out=tmp_path / "part.h5ad", decoded=True, **CHOSEN)
    found = anndata.read_h5ad(tmp_path / "part.h5ad")
    assert_equal(result, found.X, expected(result, ROWS, COLUMNS))


def test_files_of_names(folder, tmp_path):
    url = make(tmp_path / "r", dense=None)
    (tmp_path / "cells.txt").write_text("cell30\ncell2\n\n")
    (tmp_path / "peaks.txt").write_text(f"{VAR.index[7]}\n{VAR.index[1]}\n")
    (tmp_path / "wanted.bed").write_text("chr1\t1210\t1215\n")
    peaks = [str(tmp_path / "peaks.txt"), str(tmp_path / "wanted.bed"), VAR.index[2]]
    out = tmp_path / "part.tsv"
    export_in_bands(url, out=out, cells=tmp_path / "cells.txt", peaks=peaks)
    found = pd.read_csv(out, sep="\t")
    assert list(found["name"]) == ["cell2", "cell30"]
    assert list(found.columns[1:]) == [VAR.index[n] for n in (1, 2, 7, 12)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"where": ["type"]}, "a condition is COLUMN=VALUE"),
        ({"where": ["kind=T"]}, "there is no column 'kind'; known are type, donor"),
        ({"where": ["type=Q"]}, "no row has type=Q; its values are B, NK, T"),
        ({"where": ["type=T"], "cells": ["cell1"]}, "none of the 37 cells is chosen"),
        ({"cells": ["cell1", "nobody"]}, r"1 of 2 cells are unknown \(nobody\)"),
        ({"peaks": ["chr9:1-5"]}, "overlap no peak"),
        ({"peaks": ["GATA1"]}, "'GATA1' is none of the 23 peaks"),
        ({"layer": "raw"}, "there is no layer 'raw'; known are: none"),
        ({"out": "part.xlsx"}, "ends in none of .h5ad, .parquet"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, tmp_path, options, said):
    url = make(tmp_path / "r", dense=None)
    name = options.pop("out", "part.h5ad")
    with pytest.raises(UserInputError, match=said):
        export_result(url, out=tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def factored(url, n, p):
    """Cells x peaks as factors alone."""
    rng = np.random.default_rng(0)
    create_result(
        str(url),
        kind="denoised",
        obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]),
        var=pd.DataFrame(index=[f"p{i}" for i in range(p)]),
        obsm={"X_scbasset": rng.normal(size=(n, E)).astype(np.float32)},
        varm={"scbasset_sequence": rng.normal(size=(p, E)).astype(np.float32)},
        about={"scale": "linear"},
    )
    finish_result(str(url), {})
    return url


def test_a_wide_table_and_other_stores_are_refused(stores, tmp_path):
    with pytest.raises(UserInputError, match="a table of 10,001 columns is too wide"):
        plan_export(factored(tmp_path / "wide", 2, 10_001), out=tmp_path / "t.tsv")
    with pytest.raises(UserInputError, match="is no result"):
        plan_export(stores.model, out=tmp_path / "t.h5ad")
    (tmp_path / "t.h5ad").write_text("")
    with pytest.raises(StoreExistsError):
        plan_export(stores.result, out=tmp_path / "t.h5ad")


def test_memory_does_not_grow_with_the_part(tmp_path):
    """64 MB of values in bands of 1 MB; X would not fit below the bound."""
    plan = plan_export(factored(tmp_path / "r", 4096, 4096), out=tmp_path / "all.h5ad")
    assert plan.part.n_bytes == 64 << 20
    plan = replace(plan, part=replace(plan.part, band_bytes=1 << 20))
    tracemalloc.start()
    plan.run(on_event=lambda _: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert (tmp_path / "all.h5ad").stat().st_size > 64 << 20


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_from_and_to_a_bucket(s3, folder, tmp_path):
    url = make("s3://bucket/exported/r", dense="float32")
    export_result(url, out="s3://bucket/exported/part.parquet", where=["type=B"])
    fs, path = urls.filesystem("s3://bucket/exported/part.parquet")
    fs.get_file(path, str(tmp_path / "part.parquet"))
    found = pd.read_parquet(tmp_path / "part.parquet")
    rows = [n for n in range(N) if OBS["type"].iloc[n] == "B"]
    np.testing.assert_array_equal(found.iloc[:, 1:], expected(url, rows, range(P)))
