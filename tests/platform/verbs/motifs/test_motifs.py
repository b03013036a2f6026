"""`motifs` as a whole, against the method done plainly with full passes."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from atlasbasset import load_model
from atlasbasset.verbs.motifs.insertion import insertion_start, motif_words, shuffled_peaks
from atlasbasset.verbs.motifs.motifs import motif_activity
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import MotifError, NotAStoreError, StoreExistsError, UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.genome.motifs import Motif, information_content, write_meme
from atlasstore.results.result import Result
from small_atlas import make_atlas, random_labels
from small_model import TINY, random_weights, write_model
from small_tables import small_tables

N, P, L, K = 50, 30, TINY.window_bp, 12


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
    return load_model(url, device="cpu")


@pytest.fixture(scope="module")
def motifs():
    rng = np.random.default_rng(8)
    widths = {"M1_1.02": 7, "M2": 12, "M3": 7}
    return [Motif(n, f"TF{n[1]}", rng.dirichlet(np.ones(4), w)) for n, w in widths.items()]


@pytest.fixture(scope="module")
def meme(tmp_path_factory, motifs):
    path = tmp_path_factory.mktemp("meme") / "motifs.meme"
    write_meme(path, motifs)
    return path


@pytest.fixture
def several_shards(monkeypatch):
    """16 cells a shard."""
    small_tables(monkeypatch.setattr, chunk_bytes=4 * 3 * 4, shard_bytes=16 * 3 * 4)


def plain_activity(model, atlas, motifs, *, scale, seed=0):
    """Mean over backgrounds of the difference of predictions, (N, motifs), float64."""
    backgrounds = shuffled_peaks(atlas, np.arange(P), K, seed=seed)
    without = model.predict(backgrounds, scale=scale).astype(np.float64)
    columns = []
    for motif in motifs:
        start = insertion_start(L, motif.width)
        changed = backgrounds.copy()
        changed[:, start : start + motif.width] = motif_words(motif, K, seed=seed)
        columns.append((model.predict(changed, scale=scale) - without).mean(axis=0))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("scale", ["linear", "sigmoid"])
def test_activities(model, atlas, motifs, meme, tmp_path, several_shards, scale):
    out = tmp_path / "result"
    report = motif_activity(
        model.url, atlas.url, motifs=meme, out=out, n_backgrounds=K, scale=scale, compute="fp32"
    )
    found = anndata.read_zarr(out)
    raw = plain_activity(model, atlas, motifs, scale=scale)
    expected = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(found.X, expected, rtol=5e-3, atol=5e-3)  # raw to 1e-5
    assert found.X.dtype == np.float32
    mean, sd = found.var["mean"].to_numpy(), found.var["sd"].to_numpy()
    np.testing.assert_allclose(found.X * sd + mean, raw, rtol=1e-3, atol=1e-5)
    assert list(found.var["motif"]) == [motif.name for motif in motifs]
    assert list(found.var_names) == ["TF1", "TF2", "TF3"]
    assert list(found.var["tf"]) == ["TF1", "TF2", "TF3"]
    assert list(found.var["width"]) == [7, 12, 7]
    bits = [information_content(motif) for motif in motifs]
    np.testing.assert_allclose(found.var["information_content"], bits)
    assert list(found.obs_names) == list(model.obs_names)
    if scale == "linear":
        factored = found.obsm["X_scbasset"] @ found.varm["scbasset_sequence"].T
        np.testing.assert_allclose(factored, raw, rtol=1e-3, atol=1e-5)
    order = found.var.sort_values("sd", ascending=False)["tf"]
    assert report.as_json() == {
        "result": str(out),
        "n_cells": N,
        "n_motifs": 3,
        "n_backgrounds": K,
        "scale": scale,
        "dense_bytes": N * 3 * 4,
        "most_variable": list(order),
        "was_finished": False,
    }


@pytest.mark.parametrize("scale", ["linear", "sigmoid"])
def test_both_strands(model, atlas, motifs, tmp_path, several_shards, monkeypatch, scale):
    """The mean over every sequence and its reverse complement, by full passes."""
    monkeypatch.setattr("atlasbasset.verbs.motifs.insertion._UNIT_BACKGROUNDS", 5)
    options = {"n_backgrounds": K, "scale": scale, "both_strands": True}
    motif_activity(model, atlas, motifs=motifs, out=tmp_path / "r", **options)
    found = anndata.read_zarr(tmp_path / "r")
    backgrounds = shuffled_peaks(atlas, np.arange(P), K, seed=0)
    for column, motif in enumerate(motifs):
        start, changed = insertion_start(L, motif.width), backgrounds.copy()
        changed[:, start : start + motif.width] = motif_words(motif, K, seed=0)
        raw = np.zeros(N)
        for turn in (lambda codes: codes, lambda codes: np.where(codes < 4, 3 - codes, 4)[:, ::-1]):
            pair = [model.predict(turn(codes), scale=scale) for codes in (changed, backgrounds)]
            raw += np.subtract(*(values.astype(float) for values in pair)).mean(0) / 2
        got = found.X[:, column] * found.var["sd"].iloc[column] + found.var["mean"].iloc[column]
        np.testing.assert_allclose(got, raw, rtol=1e-3, atol=1e-5)
    assert found.uns["scbasset"]["both_strands"]


def test_labels_that_came_later_are_in_the_result(model, atlas, meme, tmp_path):
    leiden = pd.Categorical(["b", "a", "b"], ["b", "a"])
    obs = pd.DataFrame({"leiden": leiden, "n_peaks": 0}, index=["cell4", "cell2", "other"])
    said, options = [], {"motifs": meme, "n_backgrounds": 2}
    motif_activity(model, atlas, out=tmp_path / "r", obs=obs, on_event=said.append, **options)
    found = anndata.read_zarr(tmp_path / "r").obs
    assert found["leiden"].dropna().to_dict() == {"cell2": "a", "cell4": "b"}
    assert list(found["leiden"].cat.categories) == ["b", "a"]
    np.testing.assert_array_equal(found["n_peaks"], model.obs["n_peaks"])
    told = next(event.message for event in said if isinstance(event, Notice))
    assert "48 of 50 cells are not in the table" in told
    assert "1 names" in told
    with pytest.raises(StoreExistsError, match="another"):
        motif_activity(model, atlas, out=tmp_path / "r", **options)


def test_the_store_and_where_it_came_from(model, atlas, meme, tmp_path):
    out = tmp_path / "result"
    events = []
    motif_activity(
        model, atlas, motifs=meme, out=out, n_backgrounds=K, seed=4, on_event=events.append
    )
    result = Result.open(out)
    result.verify()
    assert result.kind == "tf_activity"
    assert {"n_backgrounds": K, "seed": 4, "scale": "linear", "split": "all"}.items() <= dict(
        result.about
    ).items()
    provenance = json.loads(result.about["provenance"])
    assert provenance["inputs"][0]["url"] == str(meme)
    assert provenance["config"]["atlas"] == atlas.url
    assert provenance["model"]["packages"]["atlasbasset"]
    last = {e.stage: e.done for e in events if isinstance(e, Progress)}
    assert last == {"inserting motifs": K, "scoring cells": N}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result"]


def test_the_very_same_job_does_nothing_and_another_is_refused(
    model, atlas, motifs, meme, tmp_path
):
    out, said = tmp_path / "result", []
    options = {"motifs": meme, "out": out, "n_backgrounds": K}
    motif_activity(model, atlas, **options)
    again = motif_activity(model, atlas, **options, on_event=said.append)
    assert again.was_finished
    assert [type(event) for event in said] == [Notice]
    in_memory = motif_activity(model, atlas, **{**options, "motifs": motifs})
    assert in_memory.was_finished  # the same motifs, wherever they come from
    for change in ({"seed": 1}, {"n_backgrounds": K + 1}, {"motifs": motifs[:2]}):
        with pytest.raises(StoreExistsError, match="made by another job"):
            motif_activity(model, atlas, **(options | change))


def test_a_job_that_failed_goes_on_where_it_was(model, atlas, meme, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "result"
    options = {"motifs": meme, "n_backgrounds": K}
    motif_activity(model, atlas, out=whole, **options)
    with monkeypatch.context() as patch:
        patch.setattr("atlasbasset.verbs.motifs.stages.linear_moments", fail)
        with pytest.raises(OSError, match="disk full"):
            motif_activity(model, atlas, out=out, **options)
    with pytest.raises(NotAStoreError, match="incomplete"):
        Result.open(out)
    with monkeypatch.context() as patch:
        patch.setattr(
            "atlasbasset.verbs.motifs.insertion.InsertMotifs.__call__", fail
        )  # not done again
        motif_activity(model, atlas, out=out, **options)
    np.testing.assert_array_equal(Result.open(out).table("X")[:], Result.open(whole).table("X")[:])


def fail(*_arguments):
    raise OSError("disk full")


def test_a_motif_that_changes_nothing_scores_zero(atlas, motifs, tmp_path):
    weights = random_weights(np.random.default_rng(7), N)
    weights.embedding[:] = weights.embedding[:1]  # all cells alike
    model = load_model(write_model(tmp_path / "model", weights), device="cpu")
    for scale in ("linear", "sigmoid"):
        out = tmp_path / scale
        motif_activity(model, atlas, motifs=motifs, out=out, n_backgrounds=4, scale=scale)
        found = anndata.read_zarr(out)
        np.testing.assert_array_equal(found.X, 0)
        np.testing.assert_array_equal(found.var["sd"], 0)


def test_peaks_of_a_split_drawn_again_where_they_are_few(model, atlas, motifs, tmp_path):
    said = []
    n_peaks = len(atlas.peak_rows("test"))
    motif_activity(
        model,
        atlas,
        motifs=motifs,
        out=tmp_path / "r",
        split="test",
        n_backgrounds=n_peaks + 1,
        on_event=said.append,
    )
    told = [event.message for event in said if isinstance(event, Notice)]
    assert told == [f"{n_peaks + 1} backgrounds come from {n_peaks} peaks, drawn again."]


def test_motifs_of_one_name_are_told_apart(model, atlas, motifs, tmp_path):
    first, second = motifs[:2]
    same = [first, Motif(first.name, second.tf, second.probabilities)]
    said = []
    options = {"n_backgrounds": K, "on_event": said.append}
    motif_activity(model, atlas, motifs=same, out=tmp_path / "r", **options)
    found = Result.open(tmp_path / "r").to_anndata()
    assert list(found.var["motif"]) == ["M1_1.02", "M1_1.02-1"]
    assert list(found.var_names) == ["TF1", "TF2"]
    assert list(found.var["tf"]) == ["TF1", "TF2"]
    expected = [first, Motif("M1_1.02-1", "TF2", second.probabilities)]
    raw = found.X * found.var["sd"].to_numpy() + found.var["mean"].to_numpy()
    plain = plain_activity(model, atlas, expected, scale="linear")
    np.testing.assert_allclose(raw, plain, rtol=1e-3, atol=1e-4)
    assert any(isinstance(e, Notice) and "M1_1.02 as M1_1.02-1" in e.message for e in said)


def test_wrong_input_leaves_nothing(model, atlas, motifs, meme, tmp_path, codes):
    labels = random_labels(np.random.default_rng(6), 3, P)
    narrow = make_atlas(tmp_path / "narrow", labels, codes[:, :198])
    wide = Motif("m7", "TF", np.full((L + 1, 4), 0.25))
    (tmp_path / "counts.meme").write_text("MOTIF m\nletter-probability matrix:\n12 3 0 1\n")
    (tmp_path / "zero.meme").write_text("MOTIF m\nletter-probability matrix: w= 0\n")
    cases = [
        ({"n_backgrounds": 0}, UserInputError, "n_backgrounds must be 1 or more, got 0"),
        ({"seed": -1}, UserInputError, "seed must be 0 or more, got -1"),
        ({"scale": "probability"}, UserInputError, "scale must be one of linear, sigmoid"),
        ({"split": "dev"}, UserInputError, "split must be one of"),
        ({"motifs": []}, UserInputError, "there are no motifs"),
        ({"motifs": [wide]}, MotifError, "m7 is .* bp wide"),
        ({"motifs": tmp_path / "absent.meme"}, MotifError, "does not exist"),
        ({"motifs": tmp_path / "counts.meme"}, MotifError, "line 3, motif m: the row '12 3 0 1'"),
        ({"motifs": tmp_path / "zero.meme"}, MotifError, "w= 0 and 0 rows"),
        ({"workers": -1}, UserInputError, "workers must be 0"),
        ({"out": atlas.url}, StoreExistsError, "exists already"),
    ]
    before = sorted(tmp_path.iterdir())
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            motif_activity(model, atlas, **{"out": tmp_path / "r", "motifs": meme, **options})
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(UserInputError, match=f"has windows of 192 bp, but .* reads {L} bp"):
        motif_activity(model, narrow, out=tmp_path / "r", motifs=meme)


def test_shuffled_copies_are_scored_in_the_place_of_motifs(model, atlas, motifs, tmp_path):
    out = tmp_path / "shuffled.zarr"
    report = motif_activity(model, atlas, motifs=motifs, out=out, n_backgrounds=2, shuffled=2)
    assert report.n_motifs == 6
    assert list(Result.open(out).var["motif"][:3]) == ["M1_1.02~1", "M1_1.02~2", "M2~1"]
    with pytest.raises(UserInputError, match="shuffled must be 0 or more, got -1"):
        motif_activity(model, atlas, motifs=motifs, out=tmp_path / "no.zarr", shuffled=-1)
