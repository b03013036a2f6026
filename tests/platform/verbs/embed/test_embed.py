from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.metrics import depth_correlation
from atlasstore.errors import StoreExistsError, UserInputError
from small_model import TINY, random_weights, write_model

N = 30


@pytest.fixture(scope="module")
def weights():
    return random_weights(np.random.default_rng(2), N)


@pytest.fixture(scope="module")
def model(tmp_path_factory, weights):
    kinds = pd.Categorical(["a", "b", None] * 10)
    obs = pd.DataFrame({"n_peaks": np.arange(N) + 1, "kind": kinds, "note": ["x"] * N})
    obs.index = [f"cell{i}" for i in range(N)]
    folder = tmp_path_factory.mktemp("stores")
    return atlasbasset.load_model(write_model(folder / "m", weights, obs=obs), device="cpu")


def check(cells, model, weights):
    assert cells.shape == (N, 0)
    assert cells.obsm["X_scbasset"].dtype == np.float32
    np.testing.assert_array_equal(cells.obsm["X_scbasset"], weights.embedding)
    np.testing.assert_array_equal(cells.obs["scbasset_intercept"], weights.intercept)
    assert list(cells.obs_names) == list(model.obs_names)
    assert list(cells.obs["kind"][:2]) == ["a", "b"]
    assert cells.obs["kind"].isna().sum() == 10
    about = cells.uns["scbasset"]
    expected = depth_correlation(weights.intercept, np.arange(N) + 1)
    assert about["depth_correlation"] == pytest.approx(expected)
    assert json.loads(about["provenance"])["config"]["model"] == model.url


def test_in_memory(model, weights):
    check(atlasbasset.embed(model), model, weights)
    assert "scbasset_intercept" not in model.obs  # the model's own table is left alone


@pytest.mark.parametrize("name", ["cells.h5ad", "sub/cells.zarr", "memory"])
def test_written_is_what_is_returned(model, weights, tmp_path, name):
    out = "memory://test_embed/cells.zarr" if name == "memory" else tmp_path / name
    check(atlasbasset.embed(model.url, out=out), model, weights)
    if name == "memory":
        return
    read = anndata.read_h5ad if name.endswith("h5ad") else anndata.read_zarr
    check(read(out), model, weights)
    assert [p.name for p in out.parent.iterdir()] == [out.name]
    with pytest.raises(StoreExistsError, match="exists already"):
        atlasbasset.embed(model, out=out)


def test_without_depth_there_is_no_correlation(tmp_path, rng):
    weights = random_weights(rng, 4)
    obs = pd.DataFrame(index=list("abcd"))
    cells = atlasbasset.embed(write_model(tmp_path / "m", weights, obs=obs))
    assert set(cells.uns["scbasset"]) == {"provenance"}
    assert cells.obsm["X_scbasset"].shape == (4, TINY.embedding_dim)
    assert list(cells.obsm) == ["X_scbasset"]  # no standard errors: they were not asked for


@pytest.mark.parametrize(
    ("out", "message"),
    [("cells.csv", "neither .h5ad nor .zarr"), ("s3://bucket/c.h5ad", "is not a local path")],
)
def test_other_outputs_get_one_sentence(model, out, message):
    with pytest.raises(UserInputError) as caught:
        atlasbasset.embed(model, out=out)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.zarr"])
def test_columns_of_any_names_are_written(tmp_path, weights, name):
    obs = pd.DataFrame({"Kind": ["x"] * N, "kind": ["y"] * N, "scbasset_intercept": [7.0] * N})
    obs.index = [f"cell{i}" for i in range(N)]
    model = atlasbasset.load_model(write_model(tmp_path / "m", weights, obs=obs), device="cpu")
    assert set(model.obs["Kind"]) == {"x"}
    atlasbasset.embed(model, out=tmp_path / name)
    read = anndata.read_zarr if name.endswith(".zarr") else anndata.read_h5ad
    found = read(tmp_path / name).obs
    np.testing.assert_array_equal(found["scbasset_intercept"], weights.intercept)
    assert set(found["input_scbasset_intercept"]) == {7.0}
    assert set(found["kind"]) == {"y"}
    assert set(found["Kind_2" if name.endswith(".zarr") else "Kind"]) == {"x"}
