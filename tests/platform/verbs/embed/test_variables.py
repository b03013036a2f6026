"""Cells with peaks or genes as variables, and what travels along into every result."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.verbs.embed import variables as module
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import TooLittleMemoryError, UserInputError
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

N, P = 24, 40
GENES = """\
chrI\tx\tgene\t2300\t9000\t.\t+\t.\tgene_id "G1"; gene_name "GATA1";
chrI\tx\tgene\t100\t9900\t.\t-\t.\tgene_id "G2"; gene_name "GATA1";
chrII\tx\tgene\t5000\t90000\t.\t-\t.\tgene_id "far";
chrII\tx\tgene\t1\t900\t.\t+\t.\tgene_id "G3"; gene_name "SPI1";
"""
MEME = """MEME version 4

ALPHABET= ACGT

MOTIF MA0001.1 GATA1
letter-probability matrix: alength= 4 w= 4
0.9 0.1 0 0
0 1 0 0
0 0 1 0
0.25 0.25 0.25 0.25
"""


@pytest.fixture(scope="module")
def labels():
    return random_labels(np.random.default_rng(3), N, P, density=0.4)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, labels):
    codes = np.random.default_rng(5).integers(0, 4, (P, TINY.window_bp + 6), dtype=np.uint8)
    return Atlas.open(make_atlas(tmp_path_factory.mktemp("stores") / "atlas", labels, codes))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model whose cells have had labels and a map stored later."""
    url = write_model(
        tmp_path_factory.mktemp("stores") / "model", random_weights(np.random.default_rng(7), N)
    )
    cells = atlasbasset.embed(url)
    cells.obs["leiden"] = pd.Categorical(["0", "1", "2"] * (N // 3))
    cells.obsm["X_umap"] = np.arange(2.0 * N).reshape(N, 2)
    atlasbasset.annotate(url, cells)
    return atlasbasset.load_model(url, device="cpu")


@pytest.fixture(scope="module")
def gtf(tmp_path_factory):
    path = tmp_path_factory.mktemp("genes") / "genes.gtf"
    path.write_text(GENES)
    return path


@pytest.mark.parametrize("name", ["cells.h5ad", "cells.zarr"])
def test_peaks_are_the_labels_of_the_atlas(model, atlas, labels, tmp_path, name):
    out = tmp_path / name
    made = atlasbasset.embed(model, variables="peaks", atlas=atlas, out=out)
    read = (anndata.read_h5ad if name.endswith("h5ad") else anndata.read_zarr)(out)
    for cells in (made, read):
        np.testing.assert_array_equal(cells.X.toarray(), labels)
        assert cells.X.dtype == np.float32
        assert list(cells.var_names) == list(atlas.var.index)
        assert list(cells.var["start"]) == list(atlas.var["start"])
        assert cells.obsm["X_scbasset"].shape == (N, TINY.embedding_dim)
        assert cells.uns["scbasset"]["X"].startswith("labels of the atlas")


def test_genes_are_mean_predictions_by_name(model, atlas, gtf, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TILE_CELLS", 7)
    made = atlasbasset.embed(model, variables="genes", atlas=atlas.url, genes=gtf)
    atlasbasset.denoise(model, atlas, genes=gtf, scale="sigmoid", out=tmp_path / "genes")
    wanted = anndata.read_zarr(tmp_path / "genes")
    np.testing.assert_allclose(made.X, wanted.X, rtol=1e-5)
    assert list(made.var_names) == list(wanted.var_names) == ["GATA1", "GATA1-1", "SPI1"]
    assert list(made.var["gene_id"]) == ["G1", "G2", "G3"]
    pd.testing.assert_frame_equal(made.var, wanted.var, check_dtype=False)
    assert 0 < made.X.min() < made.X.max() < 1


def test_labels_and_maps_travel_into_every_result(model, atlas, gtf, tmp_path):
    meme = tmp_path / "motifs.meme"
    meme.write_text(MEME)
    cells = list(model.obs_names[5:1:-1])
    atlasbasset.denoise(model, atlas, genes=gtf, cells=cells, out=tmp_path / "genes")
    atlasbasset.denoise(model, atlas, cells=cells, dense=False, out=tmp_path / "peaks")
    atlasbasset.motif_activity(
        model, atlas, motifs=meme, n_backgrounds=2, out=tmp_path / "activity"
    )
    for name in ("genes", "peaks", "activity"):
        found = anndata.read_zarr(tmp_path / name)
        rows = model.obs_names.get_indexer(found.obs_names)
        np.testing.assert_array_equal(found.obsm["X_umap"], model.obsm["X_umap"][rows])
        assert list(found.obs["leiden"]) == [str(row % 3) for row in rows]
    assert list(found.var_names) == ["GATA1"]
    assert list(found.var["motif"]) == ["MA0001.1"]


def test_they_are_opened_lazily(model, atlas, gtf, tmp_path):
    pytest.importorskip("xarray", reason="xarray is not installed: pip install 'anndata[lazy]'")
    atlasbasset.denoise(model, atlas, genes=gtf, out=tmp_path / "genes")
    atlasbasset.embed(model, variables="peaks", atlas=atlas, out=tmp_path / "cells.zarr")
    genes = anndata.experimental.read_lazy(tmp_path / "genes")
    assert (genes.shape, list(genes.var_names)) == ((N, 3), ["GATA1", "GATA1-1", "SPI1"])
    whole = anndata.read_zarr(tmp_path / "genes")
    np.testing.assert_array_equal(genes[3:5].X.compute(), whole.X[3:5])
    cells = anndata.experimental.read_lazy(tmp_path / "cells.zarr")
    np.testing.assert_array_equal(
        cells[3:5].X.compute().toarray(), atlas.to_anndata().X[3:5].toarray()
    )
    for found in (genes, cells):
        np.testing.assert_array_equal(np.asarray(found.obsm["X_umap"]), model.obsm["X_umap"])
        assert list(found.obs["leiden"].values) == ["0", "1", "2"] * (N // 3)


def test_scanpy_goes_on_with_either(model, atlas, gtf):
    scanpy = pytest.importorskip("scanpy", reason="scanpy is not installed")
    for options in ({"variables": "peaks"}, {"variables": "genes", "genes": gtf}):
        cells = atlasbasset.embed(model, atlas=atlas, **options)
        scanpy.tl.rank_genes_groups(cells, "leiden", method="wilcoxon")
        table = scanpy.get.rank_genes_groups_df(cells, "0")
        assert set(table["names"]) == set(cells.var_names)
        assert table["logfoldchanges"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": "motifs"}, "must be one of none, peaks, genes, got 'motifs'"),
        ({"variables": "peaks"}, "variables 'peaks' needs an atlas; give --atlas"),
        ({"variables": "genes", "atlas": "x"}, "needs a file of genes .GTF or GFF3.; give --genes"),
        ({"atlas": "x"}, "variables 'none' has no use for an atlas; leave out --atlas"),
        ({"variables": "peaks", "atlas": "x", "genes": "g"}, "leave out --genes"),
    ],
)
def test_what_is_absent_or_unused_is_told(model, options, message):
    with pytest.raises(UserInputError, match=message):
        atlasbasset.plan_embed(model, **options)


def test_other_cells_and_too_little_memory(model, atlas, gtf, tmp_path, monkeypatch):
    fewer = make_atlas(tmp_path / "a", np.ones((3, 4), bool), np.zeros((4, 390), np.uint8))
    with pytest.raises(UserInputError, match="has 24 cells and"):
        atlasbasset.embed(model, variables="peaks", atlas=fewer)
    monkeypatch.setattr("atlasstore.memory.free_bytes", lambda: 100)
    for options, instead in (
        ({"variables": "peaks"}, r"Atlas.to_anndata\(lazy=True\)"),
        ({"variables": "genes", "genes": gtf}, "denoise --genes"),
    ):
        with pytest.raises(TooLittleMemoryError, match=instead):
            atlasbasset.plan_embed(model, atlas=atlas, **options)


def test_a_plan_tells_columns_and_bytes(model, atlas, gtf):
    plan = atlasbasset.plan_embed(
        model, variables="genes", atlas=atlas, genes=gtf, out="cells.h5ad"
    )
    assert plan.as_json()["n_vars"] == 3
    assert plan.as_json()["stored_bytes"] == N * 4 * (TINY.embedding_dim + 1) + N * 3 * 4
    assert dict(plan.lines())["genes"].startswith("3: accessibility: mean over a gene's peaks")


def test_workers_that_would_predict_nothing_are_refused(model, atlas):
    with pytest.raises(UserInputError, match="workers predict genes, and variables 'peaks'"):
        atlasbasset.embed(model, variables="peaks", atlas=atlas, workers=2)
