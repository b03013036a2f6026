from __future__ import annotations

import json

import anndata
import numpy as np
import pytest

import atlasbasset
import atlasstore
from atlasstore import _result_writer
from atlasstore.atlas import Atlas
from atlasstore.errors import PeaksError, StoreExistsError, UserInputError
from atlasstore.events import Progress
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

N, P, L = 50, 40, TINY.window_bp


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(5).integers(0, 5, (P, L + 6), dtype=np.uint8)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, codes):
    labels = random_labels(np.random.default_rng(6), 9, P)  # other cells than the model's
    return Atlas.open(make_atlas(tmp_path_factory.mktemp("stores") / "atlas", labels, codes))


@pytest.fixture(scope="module", params=[0, 3], ids=["plain", "batches"])
def model(tmp_path_factory, request):
    weights = random_weights(np.random.default_rng(7), N, n_batches=request.param)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [("linear", "float32"), ("sigmoid", "float16"), ("probability", "float32")],
)
def test_whole_table(model, atlas, codes, tmp_path, monkeypatch, scale, dtype):
    monkeypatch.setattr(_result_writer, "_CHUNK_BYTES", 4 * P * 4)
    monkeypatch.setattr(_result_writer, "_SHARD_BYTES", 16 * P * 4)  # several shards
    out = tmp_path / "result"
    report = atlasbasset.denoise(model.url, atlas.url, out=out, scale=scale, dtype=dtype)
    found = anndata.read_zarr(out)
    expected = model.predict(codes[:, 3:-3], scale=scale).T
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == "float32" else {"rtol": 2e-3, "atol": 1e-3}
    np.testing.assert_allclose(found.X, expected, **tolerance)
    assert found.X.dtype == dtype
    assert list(found.obs_names) == list(model.obs_names)
    assert list(found.var_names) == list(atlas.var.index)
    assert {"chrom", "start", "end"} <= set(found.var)
    assert found.uns["scbasset"]["scale"] == scale
    assert report.as_json() == {
        "result": str(out),
        "n_cells": N,
        "n_peaks": P,
        "scale": scale,
        "dense_bytes": N * P * np.dtype(dtype).itemsize,
    }


def test_factored_form_is_always_there(model, atlas, tmp_path):
    whole, factored = tmp_path / "whole", tmp_path / "factored"
    atlasbasset.denoise(model, atlas, out=whole)
    report = atlasbasset.denoise(model, atlas, out=factored, dense=False)
    assert report.dense_bytes == 0
    dense, found = anndata.read_zarr(whole), anndata.read_zarr(factored)
    assert found.X is None
    for table in (dense, found):
        product = table.obsm["X_scbasset"] @ table.varm["scbasset_sequence"].T
        np.testing.assert_allclose(product, dense.X, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(table.obs["scbasset_intercept"], model.intercept)
    provenance = json.loads(found.uns["scbasset"]["provenance"])
    assert provenance["config"]["atlas"] == atlas.url
    assert provenance["model"]["packages"]["atlasbasset"]


def test_probabilities_of_the_factored_form(model, atlas, tmp_path):
    atlasbasset.denoise(model, atlas, out=tmp_path / "r", scale="probability")
    found = anndata.read_zarr(tmp_path / "r")
    embedding, intercept = found.obsm["X_scbasset"], found.obs["scbasset_intercept"].to_numpy()
    about = found.uns["scbasset"]
    if model.batches:
        of_cell = found.obs["scbasset_batch"].to_numpy()
        embedding = embedding + about["batch_embedding"][of_cell]
        intercept = intercept + about["batch_intercept"][of_cell]
        assert list(about["batches"]) == list(model.batches)
    logits = embedding @ found.varm["scbasset_sequence"].T + intercept[:, None]
    np.testing.assert_allclose(found.X, 1 / (1 + np.exp(-logits)), rtol=1e-4)


def test_chosen_peaks_and_cells(model, atlas, tmp_path):
    atlasbasset.denoise(model, atlas, out=tmp_path / "whole")
    whole = anndata.read_zarr(tmp_path / "whole")
    cells = ["cell7", "cell3", "cell49"]
    (tmp_path / "cells.txt").write_text("\n".join(cells) + "\n\n")
    first, last = atlas.var.iloc[2], atlas.var.iloc[-1]
    bed = (
        f"{last.chrom}\t{last.end - 1}\t{last.end + 9}\n{first.chrom}\t{first.start}\t{first.end}\n"
    )
    (tmp_path / "some.bed").write_text(bed)
    for name, peaks, chosen, rows in [
        ("a", tmp_path / "some.bed", tmp_path / "cells.txt", [2, P - 1]),
        ("b", [atlas.var.index[9], atlas.var.index[4]], cells, [9, 4]),
    ]:
        atlasbasset.denoise(model, atlas, out=tmp_path / name, peaks=peaks, cells=chosen)
        found = anndata.read_zarr(tmp_path / name)
        assert list(found.obs_names) == cells
        assert list(found.var_names) == list(atlas.var.index[rows])
        np.testing.assert_allclose(found.X, whole[cells].X[:, rows], rtol=1e-4, atol=1e-5)


def test_wrong_input_leaves_nothing(model, atlas, tmp_path):
    (tmp_path / "off.bed").write_text("chrI\t0\t1\nchrX\t5\t9\n")
    (tmp_path / "empty.txt").write_text("\n")
    cases = [
        (
            {"peaks": tmp_path / "off.bed"},
            PeaksError,
            "2 of 2 intervals in .* overlap no peak of the",
        ),
        ({"peaks": ["chr9:1-2"]}, UserInputError, "1 of 1 peaks are unknown"),
        ({"peaks": []}, UserInputError, "the list of peaks is empty"),
        ({"cells": ["cell1", "b", "c"]}, UserInputError, r"2 of 3 cells are unknown \(b, c\)"),
        ({"cells": tmp_path / "empty.txt"}, UserInputError, "the list of cells is empty"),
        ({"cells": tmp_path / "absent.txt"}, UserInputError, "does not exist"),
        ({"scale": "log"}, UserInputError, "scale must be one of"),
        ({"dtype": "int8"}, UserInputError, "dtype must be float32 or float16"),
        ({"out": atlas.url}, StoreExistsError, "exists already"),
    ]
    before = sorted(tmp_path.iterdir())
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            atlasbasset.denoise(model, atlas, **{"out": tmp_path / "r", **options})
        assert sorted(tmp_path.iterdir()) == before


def test_values_beyond_float16_are_refused(atlas, tmp_path, rng):
    weights = random_weights(rng, 3)
    weights.embedding[:] *= 1e6
    url = write_model(tmp_path / "m", weights)
    with pytest.raises(UserInputError, match="does not fit float16; use float32"):
        atlasbasset.denoise(url, atlas, out=tmp_path / "r", dtype="float16")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_events_and_store(model, atlas, tmp_path):
    events = []
    atlasbasset.denoise(model, atlas, out=tmp_path / "r", on_event=events.append)
    assert events[0] == Progress("embedding sequences", P, P, "peaks")
    assert events[-1] == Progress("writing predictions", N, N, "cells")
    result = atlasstore.open(tmp_path / "r")
    np.testing.assert_allclose(result.linear(3, 9), result.dense[3:9], rtol=1e-4, atol=1e-5)
    assert atlasstore.inspect_store(tmp_path / "r", verify=True).sizes["n_peaks"] == P
