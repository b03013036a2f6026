from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import atlasbasset
from atlasbasset.engine.config import TrainConfig
from atlasbasset.metrics import label_score
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model

N, P, L = 60, 80, TINY.window_bp


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    return random_labels(rng, N, P, 0.4), rng.integers(0, 5, (P, L + 6), dtype=np.uint8)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, truth):
    url = make_atlas(tmp_path_factory.mktemp("stores") / "atlas", *truth)
    opened = Atlas.open(url)
    kinds = pd.Categorical([*"ab"] * (N // 2))
    opened.obs = opened.obs.assign(kind=kinds, batch=["x", "x", "y"] * (N // 3))
    return opened


@pytest.fixture(scope="module", params=[0, 3], ids=["plain", "batches"])
def model(tmp_path_factory, request):
    weights = random_weights(np.random.default_rng(4), N, n_batches=request.param)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


def rows_of(atlas, split):
    return np.arange(P) if split == "all" else atlas.peak_rows(split)


@pytest.mark.parametrize("split", ["train", "valid", "test", "all"])
def test_predictions_against_scikit_learn(model, atlas, truth, split):
    found = atlasbasset.evaluate(model, atlas, split=split)
    rows = rows_of(atlas, split)
    labels, codes = truth[0].T[rows], truth[1][rows, 3:-3]
    embedding, intercept = (part.astype(np.float64) for part in model.table())
    scores = model.embed(codes) @ embedding.T + intercept  # logits: probabilities round into ties
    for measured, axis_labels, axis_scores, measure in [
        (found.prediction.auroc_per_cell, labels.T, scores.T, roc_auc_score),
        (found.prediction.aupr_per_cell, labels.T, scores.T, average_precision_score),
        (found.prediction.auroc_per_peak, labels, scores, roc_auc_score),
        (found.prediction.aupr_per_peak, labels, scores, average_precision_score),
    ]:
        expected = [
            measure(y, s) if 0 < y.sum() < len(y) else np.nan
            for y, s in zip(axis_labels, axis_scores, strict=True)
        ]
        # rounding to float32 may swap a pair of logits: about 1e-3 each of this few labels
        np.testing.assert_allclose(measured, expected, atol=5e-3)
        assert np.nanmean(np.abs(measured - expected)) < 1e-4
    assert (len(found.per_cell), len(found.per_peak)) == (N, len(rows))
    assert found.split == split


def test_what_was_not_asked_for_is_none(model, atlas):
    found = atlasbasset.evaluate(model.url, atlas.url)
    parts = (found.labels, found.asw, found.clusters, found.kbet, found.ilisi)
    assert parts == (None,) * 5
    assert found.depth_correlation == pytest.approx(
        np.corrcoef(model.intercept, np.log10(np.arange(N) + 5))[0, 1]
    )


def test_embedding_measures(model, atlas):
    found = atlasbasset.evaluate(model, atlas, label_key="kind", batch_key="batch", ks=(3, 7))
    expected = label_score(model.cell_embedding, ["a", "b"] * (N // 2), (3, 7))
    assert found.labels == expected
    assert found.kbet.n_batches == found.ilisi.n_batches == 2
    assert 1 <= found.ilisi.mean <= 2
    assert found.asw is None
    as_json = json.loads(json.dumps(found.as_json()))
    assert as_json["labels"]["label_score"]["7"] == expected.mean[7]
    assert as_json["prediction"]["n_peaks"] == len(rows_of(atlas, "test"))
    assert as_json["clusters"] is None


def test_held_out_peaks_that_overlap_training_windows_are_left_out(model, atlas):
    leaky = Atlas.open(atlas.url)
    test, train = leaky.peak_rows("test"), leaky.peak_rows("train")
    leaky.var = moved_onto(leaky.var, test[:1], train[0])
    said: list[object] = []
    found = atlasbasset.evaluate(model, leaky, on_event=said.append)
    assert found.n_peaks_overlapping == found.as_json()["n_peaks_overlapping"] == 1
    whole = atlasbasset.evaluate(model, atlas)
    assert whole.n_peaks_overlapping == 0
    np.testing.assert_allclose(found.per_peak, whole.per_peak[1:], atol=1e-3)
    warned = [e.message for e in said if isinstance(e, Notice)]
    assert any(f"1 of the {len(test)} test peaks share bases with training" in w for w in warned)


def test_where_all_overlap_they_are_measured_with_a_warning(model, atlas):
    leaky = Atlas.open(atlas.url)
    leaky.var = moved_onto(leaky.var, leaky.peak_rows("test"), leaky.peak_rows("train")[0])
    said: list[object] = []
    found = atlasbasset.evaluate(model, leaky, on_event=said.append)
    assert len(found.per_peak) == len(leaky.peak_rows("test"))
    assert any("say little of unseen sequence" in e.message for e in said if isinstance(e, Notice))


def test_intervals_chance_and_few_peaks(model, atlas, truth):
    said: list[object] = []
    found = atlasbasset.evaluate(model, atlas, split="all", on_event=said.append)
    sure = found.certainty
    assert sure.positive_share == pytest.approx(truth[0].mean())
    per_peak = found.per_peak[~np.isnan(found.per_peak)]
    half = 1.96 * per_peak.std(ddof=1) / np.sqrt(len(per_peak))
    assert sure.auroc_per_peak == pytest.approx((per_peak.mean() - half, per_peak.mean() + half))
    low, high = sure.auroc_per_cell
    assert low < found.prediction.mean_auroc_per_cell < high
    # labels are random: the mean of cells over 80 peaks is off by chance, and 0.5 lies within
    assert low < 0.5 < high
    assert found.as_json()["certainty"]["auroc_per_cell"] == [low, high]
    assert any("stand on 80 peaks" in e.message for e in said if isinstance(e, Notice))
    few = atlasbasset.evaluate(model, atlas, split="test").certainty
    assert few.auroc_per_cell is None


def moved_onto(var, rows, onto):
    """Peaks with those of `rows` a base beside another peak."""
    moved = var.copy()
    moved["chrom"] = moved["chrom"].astype(str)
    for name in ("chrom", "start", "end"):
        column = moved.columns.get_loc(name)
        moved.iloc[rows, column] = moved.iloc[onto, column]
    return moved


def test_clusters_on_request(model, atlas):
    pytest.importorskip("igraph", reason="igraph is not installed: pip install igraph")
    found = atlasbasset.evaluate(model, atlas, label_key="kind", cluster=True)
    assert found.clusters.n_labels == found.asw.n_labels == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "dev"}, "split must be one of train, valid, test or all, got 'dev'"),
        ({"label_key": "cell_type"}, "has no column 'cell_type'; its columns: sample"),
        ({"batch_key": "donor"}, "has no column 'donor'"),
        ({"batch_key": "one"}, "has one batch (x) for all cells"),
        ({"batch_key": "each"}, "makes every one of 60 cells a batch of its own"),
        ({"batch_key": "none"}, "has no label for any of 60 cells"),
        ({"label_key": "none"}, "has no label for any of 60 cells"),
        ({"obs": pd.DataFrame({"k": ["a"]}, ["cell0"])}, "name the column"),
        ({"cluster": True}, "are compared with labels; name the column of labels"),
    ],
)
def test_wrong_options_get_one_sentence_before_the_work(
    model, atlas, monkeypatch, options, message
):
    def predicts(*_, **__):
        raise AssertionError("the work began")

    monkeypatch.setattr("atlasbasset.verbs.evaluate.plan.measure_predictions", predicts)
    columns = {"one": ["x", "nan"] * (N // 2), "each": [f"c{i}" for i in range(N)]}
    other = Atlas.open(atlas.url)
    other.obs = atlas.obs.assign(**columns, none=["", "nan", " "] * (N // 3))
    with pytest.raises(UserInputError) as caught:
        atlasbasset.evaluate(model, other, **options)
    assert message in str(caught.value)


def test_labels_of_a_table_that_came_later(model, atlas):
    kinds = np.array(["a", "b"] * (N // 2), dtype=object)
    kinds[[3, 7, 11]] = "", "nan", None
    order = np.random.default_rng(1).permutation(N)
    obs = pd.DataFrame({"leiden": kinds, "lane": ["x", "y", "z"] * (N // 3)}, atlas.obs.index)
    said = []
    found = atlasbasset.evaluate(
        model,
        atlas,
        label_key="leiden",
        batch_key="lane",
        obs=obs.iloc[order],
        ks=(3,),
        on_event=said.append,
    )
    known = [None if kind in ("", "nan") else kind for kind in kinds]
    assert found.labels == label_score(model.cell_embedding, known, (3,))
    assert found.labels.n_unlabelled == 3
    assert found.kbet.n_batches == 3
    told = sentences(said)
    assert told == ["3 of 60 cells have no label in 'leiden' and are left out."]


def sentences(events):
    """Return what notices say, but for that on so few peaks."""
    told = [event.message for event in events if isinstance(event, Notice)]
    return [sentence for sentence in told if "the figures stand on 4 peaks" not in sentence]


def test_hardly_a_cell_for_each_batch_is_warned_of(model, atlas):
    obs = pd.DataFrame({"run": [f"r{i // 2}" for i in range(N)]}, atlas.obs.index)
    said = []
    atlasbasset.evaluate(model, atlas, batch_key="run", obs=obs, on_event=said.append)
    told = sentences(said)
    assert told == [
        "'run' has 30 batches of 2.0 cells on average; make sure that it is a column of batches."
    ]


def test_model_and_atlas_must_fit(model, atlas, truth, tmp_path, rng):
    labels, codes = truth
    fewer = make_atlas(tmp_path / "fewer", labels[:-1], codes)
    with pytest.raises(UserInputError, match=r"has 60 cells and .*fewer has 59"):
        atlasbasset.evaluate(model, fewer)
    longer = make_atlas(tmp_path / "longer", labels, rng.integers(0, 4, (P, 582), dtype=np.uint8))
    with pytest.raises(UserInputError, match=r"windows of 576 bp, but .* reads 384 bp"):
        atlasbasset.evaluate(model, longer)
    swapped = pd.DataFrame(index=[f"cell{i}" for i in [1, 0, *range(2, N)]])
    url = write_model(tmp_path / "swapped", random_weights(rng, N), obs=swapped)
    with pytest.raises(UserInputError, match="cell 0 is cell1 in the model and cell0 in the atlas"):
        atlasbasset.evaluate(url, atlas)


def test_agrees_with_what_training_reported(atlas, tmp_path):
    config = TrainConfig.recipe("paper", epochs=1, compute="fp32", batch_size=32, trunk=TINY)
    report = atlasbasset.train(atlas.url, out=tmp_path / "trained", config=config)
    found = atlasbasset.evaluate(tmp_path / "trained", atlas, split="valid").prediction
    last = report.history[-1]
    assert found.mean_auroc_per_cell == pytest.approx(last["valid_auroc_per_cell"], abs=1e-5)
    assert found.mean_auroc_per_peak == pytest.approx(last["valid_auroc_per_peak"], abs=1e-5)


def test_confounded_labels_and_batches_are_said_before_the_work(model, atlas):
    heard = []

    def evaluated(batches):
        opened = Atlas.open(atlas.url)
        kinds = pd.Categorical([*"ab"] * (N // 2))
        opened.obs = opened.obs.assign(kind=kinds, batch=batches)
        heard.clear()
        atlasbasset.evaluate(
            model, opened, label_key="kind", batch_key="batch", on_event=heard.append
        )
        return sentences(heard)

    assert evaluated(["x", "x", "y"] * (N // 3)) == []
    (said,) = evaluated(["x", "y"] * (N // 2))
    assert "no label joins x | y" in said
    assert isinstance(heard[0], Notice)
