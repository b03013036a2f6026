"""Groups' TFs, logos, heat maps, training, provenance, agreement."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import atlasbasset
from atlasbasset.inference.cell_labels import CellLabels
from atlasbasset.verbs.report.findings.activity import activity_of, holds_embeddings_of, tf_names
from atlasbasset.verbs.report.findings.agreement import agreement_of, mixing_of
from atlasbasset.verbs.report.findings.cells import Keys, SampledCells, read_keys, sample_cells
from atlasbasset.verbs.report.findings.heat import heat_of
from atlasbasset.verbs.report.findings.logos import logos_of
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.findings.origin import StoreOrigin, origins, version_warning
from atlasbasset.verbs.report.findings.training import training_of
from atlasbasset.verbs.report.given import sorted_stores
from atlasbasset.verbs.report.options import ReportOptions
from atlasbasset.verbs.report.page.charts.training import auroc_figure
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from atlasstore.results.ism_result import IsmResult
from atlasstore.results.result import Result
from small_ism import make_ism, normalised
from small_report import EPOCHS, N_CELLS, SOLVED, TFS, TYPES


@pytest.fixture
def cells(stores):
    model = atlasbasset.load_model(stores.model, device="cpu")
    keys = read_keys(model.store, ReportOptions(label_key="cell_type", batch_key="donor"))
    return sample_cells(model, keys, max_cells=1000, seed=0)


def test_activity_against_means_by_hand(stores, cells) -> None:
    result = Result.open(stores.activity)
    found = activity_of(result, cells, cells.label, (), model="m")
    raw = result.linear(0, result.n_obs)
    means = np.stack([raw[cells.label.codes == code].mean(0) for code in range(3)])
    np.testing.assert_allclose(found.difference, means - means.mean(0), atol=1e-5)
    assert found.groups == cells.label.names
    assert set(found.groups) == set(TYPES)
    for group, ranked in enumerate(found.top):
        values = found.difference[group, list(ranked)]
        assert (values > 0).all()
        assert (np.diff(values) <= 0).all()
    z = (raw - raw.mean(0)) / raw.std(0)
    np.testing.assert_allclose(found.z, z[:, list(found.chosen)], atol=1e-4)


def test_tfs_are_chosen_by_name_of_tf_or_motif(stores, cells) -> None:
    result = Result.open(stores.activity)
    found = activity_of(result, cells, cells.label, ("CTCF", "motif0"), model="m")
    assert [found.names[motif] for motif in found.chosen] == ["CTCF", "GATA1"]
    assert isinstance(activity_of(None, cells, cells.label, (), model="m"), Missing)
    assert isinstance(activity_of(result, cells, None, (), model="m"), Missing)


def test_a_tf_with_several_motifs_is_named_with_them(stores) -> None:
    result = Result.open(stores.activity)
    assert tf_names(result) == TFS
    result.var["tf"] = ["GATA1", "GATA1", "CTCF"]
    assert tf_names(result) == ("GATA1 (motif0)", "GATA1 (motif1)", "CTCF")


def test_a_result_of_another_model_is_seen(stores, cells) -> None:
    result = Result.open(stores.activity)
    assert holds_embeddings_of(result, cells)
    cells.embedding[3] += 1
    assert not holds_embeddings_of(result, cells)


def test_logos_show_what_matters_most(tmp_path, rng) -> None:
    codes = rng.integers(0, 4, (6, 120), dtype=np.uint8)
    scores = normalised(0.01 * rng.normal(size=(6, 120, 4, 5)))
    scores[2, 60, codes[2, 60], 4] = 5
    url = make_ism(tmp_path / "ism.zarr", codes, scores, [*"abcde"], strand="++-+++")
    found = logos_of(IsmResult.open(url), model="m")
    assert len(found) == 4
    logo = next(one for one in found if one.importance.max() > 4)
    place, group = np.unravel_index(logo.importance.argmax(), logo.importance.shape)
    assert logo.groups[group] == "e"
    assert (len(logo.codes), len(logo.groups)) == (80, 4)
    assert logo.codes[place] == 3 - codes[2, 60]  # on the chromosome's strand
    first = IsmResult.open(url).regions["span_start"].iloc[2]
    assert logo.start + place == first + 120 - 1 - 60


def test_mutagenesis_of_single_cells_has_no_logos(tmp_path, rng) -> None:
    codes = rng.integers(0, 4, (1, 30), dtype=np.uint8)
    scores = normalised(rng.normal(size=(1, 30, 4, 2)))
    url = make_ism(tmp_path / "ism.zarr", codes, scores, ["c1", "c2"], is_grouped=False)
    found = logos_of(IsmResult.open(url), model="m")
    assert isinstance(found, Missing)
    assert "--group-by" in found.command


def test_heat_maps_keep_every_value_and_bring_labels_together(rng) -> None:
    codes = rng.integers(0, 2, 60)
    embedding = np.stack([codes, 1 - codes], 1).astype(np.float32)
    labels = sparse.csr_array(rng.random((40, 60)) < 0.3)
    found = SimpleNamespace(
        labels=labels, h=rng.normal(size=(40, 2)).astype(np.float32), command=None
    )
    sampled = SampledCells(
        np.arange(60), tuple(map(str, range(60))), embedding, embedding[:, 0], None,
        CellLabels("kind", ("a", "b"), codes), None, 60,
    )  # fmt: skip
    heat = heat_of(found, sampled, seed=0)
    dense = labels.toarray().T
    np.testing.assert_array_equal(
        heat.raw.values, dense[heat.raw.cells][:, heat.raw.peaks].astype(np.float32)
    )
    assert sorted(heat.raw.cells) == sorted(heat.denoised.cells) == list(range(60))
    assert heat.agreement.denoised == pytest.approx(58 / 59)  # one border between two labels
    assert heat.agreement.denoised > heat.agreement.raw
    assert heat.agreement.chance == pytest.approx(0.5, abs=0.05)
    assert isinstance(heat_of(Missing("no atlas", "report"), sampled, seed=0), Missing)


def test_the_course_of_a_training(stores) -> None:
    model = atlasbasset.load_model(stores.model, device="cpu")
    found = training_of(model.store.newest(), model.config)
    assert [epoch.loss for epoch in found.epochs] == [record["loss"] for record in EPOCHS]
    assert found.solved.valid_auroc_per_cell == SOLVED["valid_auroc_per_cell"]
    assert found.recipe["batch_size"] == 128
    assert auroc_figure(found).says.endswith("which explains 41 % of where they lie.")
    held = {"weight": None, "explained": 0.0}
    state = {"history": EPOCHS, "final_solve": {**SOLVED, "peak_deviations": held}}
    stayed = training_of(SimpleNamespace(state=state), {})
    assert stayed.explained is None
    assert auroc_figure(stayed).says.endswith("holds for unseen sequence.")
    empty = SimpleNamespace(state={})
    assert isinstance(training_of(empty, {}), Missing)


def test_where_every_store_came_from(stores) -> None:
    given = sorted_stores(stores.model, stores.beside)
    found = origins(given)
    assert [one.kind for one in found] == ["atlas", "model", "TF activity", "mutagenesis", "tracks"]
    assert all(one.versions["atlasbasset"] == atlasbasset.__version__ for one in found)
    assert '"epochs"' in found[1].config
    assert found[1].card.title == f"Model: {N_CELLS} cells"
    assert version_warning(found) is None
    versions = {"atlasbasset": "0.0.1"}
    old = StoreOrigin("old", "u", "h", "s", "c", "0", versions, (), "{}", found[0].card)
    assert "old 0.0.1" in version_warning((*found, old))


def test_labels_against_neighbours_and_clusters(stores, cells) -> None:
    clusters = CellLabels("cluster", ("cluster 0", "cluster 1", "cluster 2"), cells.label.codes)
    asked = ReportOptions(label_key="cell_type")
    found = agreement_of(cells, clusters, Atlas.open(stores.atlas), asked, ignore)
    assert list(found.scores) == ["model", "PCA", "LSI"]
    assert (found.ari, found.ami) == (1, pytest.approx(1))
    np.testing.assert_array_equal(found.shares, np.eye(3))
    alone = agreement_of(cells, None, None, asked, ignore)
    assert (list(alone.scores), alone.ari) == (["model"], None)


def test_batches_that_are_mixed_or_not(cells) -> None:
    mixed = mixing_of(cells, ReportOptions())
    assert mixed.kbet.n_batches == 2
    cells.embedding[:] = 10 * cells.batch.codes[:, None] + 0.1 * cells.embedding
    apart = mixing_of(cells, ReportOptions())
    assert apart.ilisi.mean == pytest.approx(1, abs=0.01)
    assert mixed.ilisi.mean > 1.5


def test_of_one_batch_it_is_said_that_there_is_one() -> None:
    def keys(**columns: list[str]) -> Keys:
        obs = pd.DataFrame(columns, index=["x", "y"])
        return read_keys(SimpleNamespace(obs=obs, url="m"), ReportOptions())

    assert keys(batch=["b0", "b0"]).lone_batch == "b0"
    assert keys(batch=["b0", "b1"]).lone_batch is None
    assert keys(donor=["b0", "b0"]).lone_batch is None


def test_mixing_is_not_asked_for_where_there_is_one_batch(cells) -> None:
    alone = mixing_of(replace(cells, batch=None, lone_batch="b0"), ReportOptions())
    assert alone.command is None
    assert alone.why == "Mixing of batches is not measured: all cells are of one batch (b0)."
    unknown = mixing_of(replace(cells, batch=None), ReportOptions())
    assert "--batch-key" in unknown.command


def test_activity_after_a_sigmoid_is_read_from_its_scores(stores, cells) -> None:
    linear = Result.open(stores.activity)
    mean, sd = (linear.var[name].to_numpy() for name in ("mean", "sd"))
    z = (linear.linear(0, linear.n_obs) - mean) / sd
    stored = SimpleNamespace(
        about={"scale": "sigmoid"},
        n_obs=linear.n_obs,
        var=linear.var,
        url="activity.zarr",
        rows=lambda _name, start, stop: z[start:stop],
    )
    wanted = activity_of(linear, cells, cells.label, TFS, model="m")
    found = activity_of(stored, cells, cells.label, TFS, model="m")
    np.testing.assert_allclose(found.difference, wanted.difference, atol=1e-4)
    np.testing.assert_allclose(found.z, wanted.z, atol=1e-4)
