"""Results on an AnnData at hand equal those of the verbs, cell by name."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasstore.errors import TooLittleMemoryError, UserInputError
from atlasstore.events import ignore
from small_counts import N_CELLS, make_counts

tl = atlasbasset.tl


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return make_counts(tmp_path_factory.mktemp("counts"))


@pytest.fixture(scope="module")
def model(given):
    return atlasbasset.load_model(given.model, device="cpu")


@pytest.fixture
def some(given):
    """Some cells in another order, and peaks too, named otherwise."""
    chosen = given.adata[::-2, 25:5:-1].copy()
    chosen.var_names = [f"peak{i}" for i in range(chosen.n_vars)]
    return chosen


def rows(adata, model):
    return model.obs_names.get_indexer(adata.obs_names)


def written_again(adata, path):
    """What is in `adata` after it was written and read."""
    adata.write_h5ad(path)
    return anndata.read_h5ad(path)


def test_embed(some, model, tmp_path):
    tl.embed(some, model)
    np.testing.assert_array_equal(some.obsm["X_scbasset"], model.cell_embedding[rows(some, model)])
    intercept = model.intercept[rows(some, model)]
    np.testing.assert_array_equal(some.obs["scbasset_intercept"], intercept)
    again = written_again(some, tmp_path / "a.h5ad")
    assert json.loads(again.uns["scbasset"]["provenance"])["config"]["model"] == model.url


def test_maps_of_the_model_come_along_and_own_ones_stay(given, some, tmp_path):
    url = make_counts(tmp_path).model
    cells = atlasbasset.embed(url)
    cells.obsm["X_umap"] = np.ones((N_CELLS, 2))
    cells.obsm["X_tsne"] = np.ones((N_CELLS, 2))
    atlasbasset.annotate(url, cells, on_event=ignore)
    some.obsm["X_tsne"] = np.zeros((some.n_obs, 2))
    tl.embed(some, url)
    assert (some.obsm["X_umap"] == 1).all()
    assert (some.obsm["X_tsne"] == 0).all()


@pytest.mark.parametrize("source", ["atlas", "genome"])
def test_motif_activity(given, some, model, tmp_path, source):
    options = {"n_backgrounds": 5, "seed": 2, "on_event": ignore}
    where = {source: getattr(given, source)}
    everything = given.adata.copy() if source == "genome" else some
    tl.motif_activity(everything, model, given.motifs, key="tfs", **where, **options)
    out = tmp_path / "r"
    atlasbasset.motif_activity(model, given.atlas, motifs=given.motifs, out=out, **options)
    wanted = anndata.read_zarr(out)
    found = everything.obsm["tfs"]
    assert list(found.columns) == ["GATA1", "SPI1"]
    at = rows(everything, model)
    np.testing.assert_allclose(found, wanted.X[at], rtol=1e-5, atol=1e-6)
    again = written_again(everything, tmp_path / "a.h5ad")
    about = again.uns["scbasset"]["tfs"]
    np.testing.assert_allclose(about["motifs"]["sd"], wanted.var["sd"])
    assert about["n_backgrounds"] == 5
    assert "provenance" in about


@pytest.mark.parametrize("source", ["atlas", "genome"])
@pytest.mark.parametrize("scale", ["linear", "probability"])
def test_denoise(given, some, model, tmp_path, source, scale):
    where = {source: getattr(given, source)}
    tl.denoise(some, model, layer="smooth", scale=scale, on_event=ignore, **where)
    atlasbasset.denoise(model, given.atlas, out=tmp_path / "r", scale=scale, on_event=ignore)
    wanted = anndata.read_zarr(tmp_path / "r")[some.obs_names].X[:, 25:5:-1]
    np.testing.assert_allclose(some.layers["smooth"], wanted, rtol=1e-4, atol=1e-5)
    assert written_again(some, tmp_path / "a.h5ad").uns["scbasset"]["smooth"]["scale"] == scale


@pytest.mark.parametrize("source", ["atlas", "genome"])
def test_map_labels(given, model, tmp_path, source):
    new = given.adata[::-1].copy()
    where = {source: getattr(given, source)}
    options = {"split": "all", "l2": 1.0, "on_event": ignore}
    tl.map_labels(new, model, "kind", **where, **options)
    report = atlasbasset.map_cells(
        model, given.atlas, out=tmp_path / "m", label_key="kind", **options
    )
    mapped = atlasbasset.load_model(tmp_path / "m", device="cpu")
    for column in report.labels.columns:
        assert list(new.obs[column]) == list(mapped.obs[column].reindex(new.obs_names))
    np.testing.assert_allclose(
        new.obsm["X_scbasset"], mapped.cell_embedding[::-1], rtol=1e-3, atol=1e-4
    )
    again = written_again(new, tmp_path / "a.h5ad")
    assert again.uns["scbasset"]["mapped_kind"]["accuracy"] == pytest.approx(report.labels.accuracy)
    assert isinstance(new.obs["mapped_kind"].dtype, pd.CategoricalDtype)


def test_a_new_cell_without_an_open_peak_is_missing(given, model):
    new = given.adata.copy()
    new.X = new.X.multiply(np.arange(N_CELLS)[:, None] != 3).tocsr()
    options = {"split": "all", "l2": 1.0, "on_event": ignore}
    tl.map_labels(new, model, "kind", given.genome, **options)
    assert new.obs["mapped_kind"].isna().to_numpy().nonzero()[0].tolist() == [3]
    assert np.isnan(new.obsm["X_scbasset"]).any(1).nonzero()[0].tolist() == [3]


def test_what_does_not_fit_is_told_and_leaves_adata_as_it_was(given, some, model, monkeypatch):
    other = some.copy()
    other.obs_names = ["x", "y", *other.obs_names[2:]]
    moved = some.copy()
    moved.var["start"] += 7
    calls = [
        (lambda: tl.embed(other, model), r"2 of 12 cells of adata are not in .*\(x, y\)"),
        (lambda: tl.denoise(other, model, atlas=given.atlas), "2 of 12 cells of adata"),
        (lambda: tl.denoise(some, model), "give one of the two"),
        (lambda: tl.denoise(some, model, atlas="a", genome="g"), "give one of the two"),
        (lambda: tl.denoise(moved, model, atlas=given.atlas), "20 of 20 peaks of adata are unkn"),
        (lambda: tl.map_labels(some, model, "kind"), "give a FASTA"),
        (lambda: tl.map_labels(some, model, "type", given.genome), "no column 'type'"),
    ]
    for adata in (some, other, moved):
        adata.uns["before"] = True
    for call, said in calls:
        with pytest.raises(UserInputError, match=said):
            call()
    for adata in (some, other, moved):
        assert list(adata.uns) == ["before"]
        assert not adata.obsm
        assert not adata.layers
    monkeypatch.setattr("atlasstore.memory.free_bytes", lambda: 100)
    with pytest.raises(TooLittleMemoryError, match="take fewer peaks or cells first"):
        tl.denoise(some, model, atlas=given.atlas)
