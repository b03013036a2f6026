from __future__ import annotations

import sys

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import atlasbasset
from atlasbasset.pl import logo
from atlasstore.errors import MissingExtraError, UserInputError
from atlasstore.results.ism_result import IsmResult
from small_ism import make_ism, normalised
from small_model import random_weights, write_model
from small_report import EPOCHS, SOLVED, record_training

pl = atlasbasset.pl
N = 64  # cells of `record_training`


@pytest.fixture(autouse=True)
def no_window():
    """Draw without a display, and close what was opened."""
    before = mpl.get_backend()
    mpl.use("agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")
    mpl.use(before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    weights = random_weights(np.random.default_rng(1), N)
    url = write_model(tmp_path_factory.mktemp("stores") / "m", weights)
    record_training(url)
    return url


def test_training_draws_every_epoch_and_the_solve(trained):
    for model in (trained, atlasbasset.load_model(trained, device="cpu")):
        loss, auroc = pl.training(model)
        line, dot = loss.lines
        np.testing.assert_allclose(line.get_ydata(), [r["loss"] for r in EPOCHS])
        assert dot.get_xydata().tolist() == [[4, SOLVED["loss"]]]
        labels = [text.get_text() for text in auroc.get_legend().get_texts()]
        assert len(labels) == 3
        np.testing.assert_allclose(auroc.lines[0].get_ydata(), [r["train_auroc"] for r in EPOCHS])
    given = Figure().subplots(1, 2)
    assert pl.training(trained, axes=given)[0] is given[0]


def test_a_model_without_epochs_has_nothing_to_draw(tmp_path, rng):
    url = write_model(tmp_path / "m", random_weights(rng, 4))
    with pytest.raises(UserInputError, match="has no epochs to draw"):
        pl.training(url)


@pytest.fixture
def scored():
    """Two groups; GATA1 is high in A, SPI1 in B by little, and OFF has a spread of nothing."""
    group = np.array(["A", "B"] * 10)
    z = pd.DataFrame({"OFF": np.where(group == "A", 2.0, -2.0)})
    z["GATA1"] = np.where(group == "A", 1.0, -1.0)
    z["SPI1"] = -z["GATA1"]
    names = [f"cell{i}" for i in range(20)]
    adata = anndata.AnnData(obs=pd.DataFrame({"kind": pd.Categorical(group)}, index=names))
    z.index = adata.obs_names
    adata.obsm["tf_activity"] = z.astype(np.float32)
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(20, 2))
    motifs = pd.DataFrame({"sd": [1e-6, 1.0, 0.5]}, index=z.columns)
    adata.uns["scbasset"] = {"tf_activity": {"motifs": motifs}}
    return adata


def test_heat_map_of_the_tfs_that_set_groups_apart(scored):
    ax = pl.tf_activity(scored, groupby="kind", n_top=1)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["GATA1", "SPI1"]  # not OFF, by raw
    assert [t.get_text() for t in ax.get_yticklabels()] == ["A", "B"]
    np.testing.assert_allclose(ax.images[0].get_array(), [[1, -1], [-1, 1]])
    chosen = pl.tf_activity(scored, ["OFF"], groupby="kind")
    assert [t.get_text() for t in chosen.get_xticklabels()] == ["OFF"]


def test_one_tf_on_a_map(scored):
    given = Figure().subplots()
    ax = pl.tf_activity(scored, "SPI1", ax=given)
    assert ax is given
    drawn = ax.collections[0]
    assert sorted(drawn.get_array()) == sorted(scored.obsm["tf_activity"]["SPI1"])
    order = [scored.obsm["X_umap"].tolist().index(p) for p in drawn.get_offsets().tolist()]
    np.testing.assert_array_equal(
        drawn.get_array(), scored.obsm["tf_activity"]["SPI1"].to_numpy()[order]
    )


def test_of_a_result_as_it_is_read(scored):
    z = scored.obsm["tf_activity"]
    result = anndata.AnnData(
        z.to_numpy(), obs=scored.obs, var=scored.uns["scbasset"]["tf_activity"]["motifs"]
    )
    result.uns["scbasset"] = {"kind": "tf_activity"}
    ax = pl.tf_activity(result, groupby="kind", n_top=1)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["GATA1", "SPI1"]


def test_what_is_absent_is_told(scored):
    for options, said in (
        ({"key": "other"}, "no obsm\\['other'\\]; run atlasbasset.tl.motif_activity"),
        ({"tfs": "CTCF"}, "no TF 'CTCF'; there are OFF, GATA1, SPI1"),
        ({"groupby": "leiden"}, "no column 'leiden'; its columns: kind"),
        ({"tfs": "SPI1", "basis": "X_pca"}, "obsm has no 'X_pca'; it has"),
        ({}, "name one TF"),
    ):
        with pytest.raises(UserInputError, match=said):
            pl.tf_activity(scored, **options)


class TestLogos:
    @pytest.fixture(autouse=True)
    def needs_logomaker(self):
        pytest.importorskip("logomaker", reason="logomaker is not installed")

    @pytest.fixture
    def result(self, tmp_path, rng):
        codes = rng.integers(0, 4, (2, 40), dtype=np.uint8)
        scores = normalised(rng.normal(size=(2, 40, 4, 2)))
        return make_ism(tmp_path / "r", codes, scores, ["B cell", "T cell"])

    def test_letters_are_as_high_as_they_matter(self):
        ax = Figure().subplots()
        codes = np.array([0, 2, 4, 3], np.uint8)
        logo.draw_logo(codes, np.array([1, -2, 5, 0.5], np.float32), start=100, ax=ax)
        boxes = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
        drawn = sorted((round((b.x0 + b.x1) / 2), round(b.y0, 2), round(b.y1, 2)) for b in boxes)
        wanted = [(100, 0, 1), (101, -2, 0), (103, 0, 0.5)]
        assert [box for box in drawn if box[1] != box[2]] == wanted
        assert ax.get_xlim() == (99.5, 103.5)

    def test_the_stretch_that_matters_most(self):
        matters = np.zeros((50, 2), np.float32)
        matters[31:35] = [[-3, 0]] * 4
        assert logo.most_important(matters, 4) == (31, 35)
        assert logo.most_important(matters, 80) == (0, 50)
        assert logo.most_important(matters[:1], 1) == (0, 1)

    def test_a_row_for_each_group(self, result):
        axes = pl.ism_logo(result)
        assert [ax.get_title(loc="left") for ax in axes] == ["B cell", "T cell"]
        assert axes[0].figure.get_suptitle() == "chr1:1000-1040"
        assert axes[-1].get_xlim() == (999.5, 1039.5)
        opened, figure = IsmResult.open(result), Figure()
        options = {"groups": ["T cell"], "most_bp": 10, "figure": figure}
        (one,) = pl.ism_logo(opened, "chr1:11000-11040", **options)
        assert one.figure is figure
        start, stop = one.get_xlim()
        assert stop - start == 10
        assert start >= 10_999.5

    def test_unknown_regions_and_groups_and_the_extra(self, result, monkeypatch):
        with pytest.raises(UserInputError, match="1 of 1 regions are unknown"):
            pl.ism_logo(result, "chr9:1-2")
        with pytest.raises(UserInputError, match="no group 'NK'"):
            pl.ism_logo(result, groups=["NK"])
        monkeypatch.setitem(sys.modules, "logomaker", None)
        with pytest.raises(MissingExtraError, match="Drawing logos needs logomaker"):
            pl.ism_logo(result)
