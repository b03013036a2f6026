from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
import atlasstore
from atlasbasset.inference.groups import cell_groups
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.results.writer import write_anndata
from small_model import random_weights, write_model

N = 12


@pytest.fixture
def url(tmp_path):
    return write_model(tmp_path / "model", random_weights(np.random.default_rng(1), N))


@pytest.fixture
def table():
    names = [f"cell{i}" for i in (5, 3, 8)] + ["other"]
    leiden = pd.Categorical(["1", "0", "1", "0"], ["1", "0"])
    return pd.DataFrame({"leiden": leiden, "type": ["T", "nan", "B", "T"], "n_peaks": 1}, names)


def test_labels_are_columns_of_obs_from_then_on(url, table, tmp_path):
    table.to_csv(tmp_path / "cells.csv")
    said, before = [], ModelStore.open(url).obs
    report = atlasbasset.annotate(url, tmp_path / "cells.csv", on_event=said.append)
    assert report.as_json() == {
        "model": url,
        "n_cells": N,
        "columns": {"leiden": 3, "type": 2},
        "replaced": [],
        "obsm": [],
    }
    told = [event.message for event in said if isinstance(event, Notice)]
    assert "9 of 12 cells are not in the table" in told[0]
    assert "1 names in the table of cells are none" in told[0]
    assert "left out: n_peaks" in told[0]
    model = atlasbasset.load_model(url, device="cpu")
    assert model.obs["leiden"].dropna().to_dict() == {"cell3": "0", "cell5": "1", "cell8": "1"}
    assert model.obs["type"].dropna().to_dict() == {"cell5": "T", "cell8": "B"}
    pd.testing.assert_frame_equal(model.obs[before.columns], before)
    groups = cell_groups(model, "type")
    np.testing.assert_allclose(groups.embedding, model.cell_embedding[[8, 5]])
    summary = atlasstore.inspect_store(url, verify=True)
    assert summary.sizes["obs_columns"] == ["n_peaks", "leiden", "type"]


def test_again_adds_and_replaces_what_is_named(url, table):
    atlasbasset.annotate(url, table)
    second = pd.DataFrame({"type": ["NK"] * N, "day": np.arange(N)}, [f"cell{i}" for i in range(N)])
    atlasbasset.annotate(url, second)
    store = ModelStore.open(url)
    assert store.obs["day"].tolist() == list(range(N))
    assert store.obs["type"].notna().sum() == 2
    report = atlasbasset.annotate(url, second, columns=["type"])
    assert report.replaced == ("type",)
    store = ModelStore.open(url)
    assert set(store.obs["type"]) == {"NK"}
    assert list(store.obs.columns) == ["n_peaks", "leiden", "type", "day"]
    assert store.obs["leiden"].cat.categories.tolist() == ["1", "0"]
    assert len(urls.list_names(urls.join(url, "labels"))) == 1


def test_a_writer_that_dies_leaves_the_model_as_it_was(url, table, monkeypatch):
    atlasbasset.annotate(url, table)
    before = ModelStore.open(url).obs
    write = urls.write_bytes

    def dies(place, content):
        if str(place).endswith("labels.json"):
            raise OSError("full")
        write(place, content)

    monkeypatch.setattr(urls, "write_bytes", dies)
    with pytest.raises(OSError, match="full"):
        atlasbasset.annotate(url, table.assign(late="x"))
    pd.testing.assert_frame_equal(ModelStore.open(url).obs, before)


def test_what_does_not_fit_is_refused(url, table, tmp_path):
    cases = [
        (table, {"columns": ["tissue"]}, "no column 'tissue'"),
        (table[["n_peaks"]], {}, "has all columns of the table already"),
        (table.assign(scbasset_batch=1), {"columns": ["scbasset_batch"]}, "one of the model's own"),
        (table.set_axis(list("abcd")), {}, "none of 4 names"),
        (tmp_path / "cells.csv", {}, "does not exist"),
    ]
    for cells, options, message in cases:
        with pytest.raises(UserInputError, match=message):
            atlasbasset.annotate(url, cells, **options)
    assert ModelStore.open(url).labels_url() is None


@pytest.mark.parametrize("form", ["memory", "h5ad", "zarr"])
def test_what_embed_wrote_comes_back_with_labels_and_maps(url, tmp_path, form):
    cells = atlasbasset.embed(url)[::-1].copy()
    cells.obs["leiden"] = pd.Categorical(["0", "1"] * (N // 2))
    umap = np.arange(2.0 * N).reshape(N, 2)
    cells.obsm["X_umap"], cells.obsm["X_pca"] = umap, np.zeros((N, 50))
    given = cells
    if form != "memory":
        given = tmp_path / f"cells.{form}"
        write = write_anndata if form == "zarr" else anndata.AnnData.write_h5ad
        write(cells, given)
    report = atlasbasset.annotate(url, given)
    assert report.as_json()["obsm"] == ["X_umap"]
    assert report.columns == {"leiden": N}
    again = atlasbasset.embed(url)
    np.testing.assert_array_equal(again.obsm["X_umap"], umap[::-1].astype(np.float32))
    assert list(again.obs["leiden"]) == list(cells.obs["leiden"][::-1])
    atlasstore.inspect_store(url, verify=True)


def test_maps_alone_and_by_name(url):
    cells = atlasbasset.embed(url)[:4].copy()
    cells.obsm["X_pca"] = np.ones((4, 5))
    assert atlasbasset.annotate(url, cells, obsm=["X_pca"]).columns == {}
    cells.obsm["X_tsne"] = np.ones((4, 3))
    atlasbasset.annotate(url, cells)
    maps = ModelStore.open(url).obsm
    assert {key: values.shape for key, values in maps.items()} == {
        "X_pca": (N, 5),
        "X_tsne": (N, 3),
    }
    assert np.isnan(maps["X_pca"][4:]).all()
    for key, said in (("X_umap", "is not there; it has"), ("X_scbasset", "the model's own")):
        with pytest.raises(UserInputError, match=said):
            atlasbasset.annotate(url, cells, obsm=[key])
