"""The table of baselines on a small atlas whose cells are of three types."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

import atlasbasset
from atlasbasset.core.newton import solve_cells
from atlasbasset.metrics import (
    FactoredScores,
    SparseLabels,
    evaluate_scores,
    label_score,
    neighbor_score,
)
from atlasbasset.metrics.baselines import open_sums, pca
from atlasbasset.metrics.changed_labels import shuffled
from atlasbasset.verbs.evaluate.baselines import baseline_input
from atlasjobs.reports.evaluate import baseline_columns
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

N, P, L = 60, 200, TINY.window_bp
KS = (3, 7)
TYPES = np.array([*"abc"] * (N // 3))


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(3)
    share = rng.beta(0.5, 1.5, (P, 3))
    return rng.random((N, P)) < share[:, np.arange(N) % 3].T * rng.uniform(0.4, 1, (N, 1))


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, labels):
    codes = np.random.default_rng(5).integers(0, 4, (P, L + 6), dtype=np.uint8)
    opened = Atlas.open(make_atlas(tmp_path_factory.mktemp("stores") / "atlas", labels, codes))
    kinds = TYPES.astype(object)
    kinds[[4, 9]] = None
    opened.obs = opened.obs.assign(kind=kinds)
    return opened


def model_of(folder, n_batches=0):
    weights = random_weights(np.random.default_rng(4), N, n_batches=n_batches)
    return atlasbasset.load_model(write_model(folder / "model", weights), device="cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_of(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def rna():
    rng = np.random.default_rng(8)
    names = [f"cell{i}" for i in rng.permutation(N)[:50]]
    counts = rng.poisson(2, (50, 30)).astype(np.float32)
    return anndata.AnnData(counts, pd.DataFrame(index=names))


@pytest.fixture(scope="module")
def found(model, atlas, rna):
    return atlasbasset.evaluate(
        model, atlas, label_key="kind", rna=rna, ks=KS, baselines=True, split="test"
    )


@pytest.fixture(scope="module")
def table(found):
    return found.baselines.to_frame()


def test_the_models_row_is_what_evaluate_says(found, table):
    own = table.loc["model"]
    assert own["auroc_per_cell"] == pytest.approx(found.prediction.mean_auroc_per_cell)
    assert own["auroc_per_peak"] == pytest.approx(found.prediction.mean_auroc_per_peak)
    assert own["label_score_7"] == found.labels.mean[7]
    assert own["neighbor_score_3"] == found.rna.neighbors.mean[3]


def test_embeddings_see_the_training_peaks_alone(table, atlas, labels, rna):
    train = atlas.peak_rows("train")
    expected = pca(sparse.csr_array(labels[:, train]))
    known = TYPES.astype(object)
    known[[4, 9]] = None
    assert table.loc["PCA", "label_score_7"] == label_score(expected, known, KS).mean[7]
    rows = [i for i in range(N) if f"cell{i}" in rna.obs_names]
    assert table.loc["PCA", "n_peaks"] == len(train)
    assert np.isnan(table.loc["PCA", "auroc_per_cell"])
    assert {"LSI", "LSI less 1", "logistic factorisation"} <= set(table.index)
    own = neighbor_score(expected[rows], expected[rows], KS).mean[3]
    assert table.loc["PCA", "neighbor_score_3"] < own == 1


def test_cells_solved_again_are_the_solver_s(model, atlas, labels, table):
    train, test = atlas.peak_rows("train"), atlas.peak_rows("test")
    codes = atlas.sequence_codes(0, P)[:, 3:-3]
    h = model.embed(codes)
    for name, given in (
        ("model, cells solved on 100% of reads", sparse.csr_array(labels[:, train])),
        (
            "model, cells solved on shuffled labels",
            shuffled(sparse.csr_array(labels[:, train]), seed=0),
        ),
    ):
        basis = torch.from_numpy(h[train])
        cells = solve_cells(basis, open_sums(given.astype(float), basis), l2=10.0)
        scores = FactoredScores(
            h[test], cells.embedding.float().numpy(), cells.intercept.float().numpy()
        )
        expected = evaluate_scores(scores, SparseLabels(sparse.csr_array(labels[:, test].T)))
        row = table.loc[name]
        assert row["auroc_per_cell"] == pytest.approx(expected.mean_auroc_per_cell, abs=1e-3)
        assert row["auroc_per_peak"] == pytest.approx(expected.mean_auroc_per_peak, abs=1e-3)


def test_every_idea_has_its_row(table):
    reads = [
        f"model, cells solved on {s} of reads" for s in ("80%", "60%", "40%", "20%", "10%", "5%")
    ]
    kinds = ["6-mer ridge", "6-mer ridge, label means", "model, unit rows", *reads]
    assert set(kinds) <= set(table.index)
    ceiling = table.loc["mean per label and peak (oracle)"]
    assert ceiling["auroc_per_cell"] > table.loc["mean per peak (oracle)", "auroc_per_cell"] > 0.6
    assert ceiling["auroc_per_peak"] > 0.6
    assert table.loc["depth alone", "auroc_per_cell"] == 0.5
    assert (table["n_cells"] == N).all()


def test_what_is_printed_and_json(found):
    as_json = json.loads(json.dumps(found.as_json()))["baselines"]
    assert as_json["rows"][0]["name"] == "model"
    header, rows = baseline_columns(found.baselines)
    assert header[:4] == ["baseline", "cells", "learned", "predicted"]
    assert "label k=7" in header
    assert all(len(row) == len(header) for row in rows)
    by_name = {row[0]: row for row in rows}
    assert by_name["PCA"][4] == "-"
    assert by_name["depth alone"][4] == "0.500"


def test_without_labels_or_rna_predictions_are_left(model, atlas):
    found = atlasbasset.evaluate(model, atlas, baselines=True).baselines
    assert {row.label_score for row in found.rows} == {None}
    assert any("to be judged by" in sentence for sentence in found.left_out)
    assert any("label means need labels" in sentence for sentence in found.left_out)
    assert "model, unit rows" not in {row.name for row in found.rows}


def test_a_batch_corrected_models_cells_are_not_solved_again(atlas, tmp_path):
    found = atlasbasset.evaluate(model_of(tmp_path, 3), atlas, baselines=True).baselines
    assert not [row for row in found.rows if "solved" in row.name]
    assert any("batch-corrected" in sentence for sentence in found.left_out)


@pytest.mark.parametrize("split", ["train", "all"])
def test_baselines_need_peaks_that_are_held_out(model, atlas, split):
    with pytest.raises(UserInputError, match="choose the split valid or test"):
        atlasbasset.plan_evaluate(model, atlas, split=split, baselines=True)


def test_samples_are_drawn_where_cells_and_peaks_are_many(model, atlas):
    whole = atlasbasset.plan_evaluate(model, atlas, label_key="kind", ks=KS, baselines=True)
    few = baseline_input(atlas, "test", n_cells=N, most_cells=40, most_peaks=100)
    plan = replace(whole, baselines=few)
    assert "on 40 cells and" in str(plan)
    assert "100 of them embedded" in str(plan)
    table = plan.run(on_event=lambda _: None).baselines.to_frame()
    assert (table["n_cells"] == 40).all()
    assert table.loc["6-mer ridge", "n_peaks"] == 100
