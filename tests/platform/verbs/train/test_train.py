"""What `train` checks and writes around the loop: recipes, `init_from`, one run at a time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import atlasbasset
from atlasbasset.engine.config import RECIPES, TrainConfig
from atlasbasset.engine.convolution_choice import settled
from atlasbasset.engine.events import CellsSolved, StepDone, TrainingStart
from atlasbasset.verbs.train.setup import check_training
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import NotAStoreError, UserInputError
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas
from small_model import random_weights, write_model
from tiny import TRUNK, WINDOW, atlas, config


class Stopped(Exception):
    pass


def stop_at(kind):
    def on_event(event):
        if isinstance(event, kind):
            raise Stopped

    return on_event


def trunk_of(model):
    return ModelStore.open(model).newest().tensors("trunk")


@pytest.fixture(scope="module")
def atlas_url(tmp_path_factory):
    return atlas(tmp_path_factory.mktemp("atlas") / "atlas.zarr")


@pytest.fixture
def source(tmp_path, rng):
    """A model of other cells with random weights and statistics."""
    return write_model(tmp_path / "source", random_weights(rng, 6, config=TRUNK), config=TRUNK)


def transfer(source, **changes):
    return config(**{"init_from": source, "cell_start": "solve", "epochs": 1} | changes)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_by_name(atlas_url, tmp_path, recipe):
    with pytest.raises(Stopped):
        atlasbasset.train(
            atlas_url, out=tmp_path / "m", recipe=recipe, on_event=stop_at(TrainingStart)
        )
    settings = TrainConfig.from_json(ModelStore.open(tmp_path / "m").config["train"])
    expected = settled(TrainConfig.recipe(recipe).with_epochs(40), torch.device("cpu"))
    assert settings == replace(expected, trunk=replace(expected.trunk, window_bp=WINDOW))


def test_an_unknown_recipe_is_refused(atlas_url, tmp_path):
    with pytest.raises(UserInputError, match="recipe must be one of fast, paper, got 'slow'"):
        atlasbasset.train(atlas_url, out=tmp_path / "m", recipe="slow")
    assert not (tmp_path / "m").exists()


def test_the_report_holds_the_last_solve(atlas_url, tmp_path):
    events = []
    report = atlasbasset.train(
        atlas_url, out=tmp_path / "m", config=config(final_solve=True), on_event=events.append
    )
    assert report.final_solve["n_converged"] == report.n_cells == 40
    assert report.final_solve["loss"] < report.history[-1]["loss"]
    assert report.final_solve["valid_auroc_per_cell"] > 0
    (solved,) = (event for event in events if isinstance(event, CellsSolved))
    assert solved.record["loss"] == report.final_solve["loss"]
    assert json.loads(json.dumps(report.as_json()))["final_solve"] == report.final_solve
    without = atlasbasset.train(atlas_url, out=tmp_path / "n", config=config(epochs=1))
    assert without.final_solve is None


def test_a_frozen_trunk_is_the_other_models(atlas_url, tmp_path, source):
    settings = transfer(source, freeze_epochs=1, trunk=replace(TRUNK, stem_filters=99))
    report = atlasbasset.train(atlas_url, out=tmp_path / "m", config=settings)
    expected = trunk_of(source)
    for name, values in trunk_of(tmp_path / "m").items():
        np.testing.assert_array_equal(values, expected[name])
    assert report.n_cells == 40
    assert atlasbasset.load_model(tmp_path / "m").trunk.config == TRUNK


def test_a_trunk_that_is_free_is_trained_on(atlas_url, tmp_path, source):
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=transfer(source))
    expected = trunk_of(source)["stem.weight"]
    found = trunk_of(tmp_path / "m")["stem.weight"]
    assert 0 < np.abs(found - expected).max() < 0.3  # a few steps of 0.01 away


def test_what_was_begun_with_is_recorded(atlas_url, tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atlasbasset.train(atlas_url, out="m", config=transfer("source"))
    stored, checkpoint = ModelStore.open("m").config, ModelStore.open(source).newest()
    assert stored["train"]["init_from"] == source
    assert stored["start"]["model"] == source
    assert stored["start"]["sha256"] == checkpoint.checksums["trunk.safetensors"]


def test_going_on_needs_the_other_model_no_more(atlas_url, tmp_path, source):
    whole = atlasbasset.train(atlas_url, out=tmp_path / "w", config=transfer(source, epochs=2))
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=transfer(source))
    urls.delete(source)
    resumed = atlasbasset.train(atlas_url, out=tmp_path / "m", config=transfer(source, epochs=2))
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in whole.history]
    with pytest.raises(UserInputError, match="init_from is None, was"):
        atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=2))


def test_another_trunk_before_the_first_checkpoint_is_noticed(atlas_url, tmp_path, source, rng):
    with pytest.raises(Stopped):
        atlasbasset.train(
            atlas_url, out=tmp_path / "m", config=transfer(source), on_event=stop_at(StepDone)
        )
    urls.delete(source)
    write_model(source, random_weights(rng, 6, config=TRUNK), config=TRUNK)
    with pytest.raises(UserInputError, match=r"was trained on since .* was started"):
        atlasbasset.train(atlas_url, out=tmp_path / "m", config=transfer(source))


def test_a_trunk_of_another_window_is_refused(tmp_path, source, rng):
    wide = make_atlas(
        tmp_path / "wide", rng.random((40, 60)) < 0.2, rng.integers(0, 4, (60, 390), np.uint8)
    )
    with pytest.raises(UserInputError, match=r"reads windows of 192 bp, but .* has 384 bp"):
        atlasbasset.train(wide, out=tmp_path / "m", config=transfer(source))
    assert not (tmp_path / "m").exists()


def test_no_model_to_begin_with_leaves_nothing(atlas_url, tmp_path):
    for url in (tmp_path / "absent", atlas_url):
        with pytest.raises(NotAStoreError):
            atlasbasset.train(atlas_url, out=tmp_path / "m", config=transfer(str(url)))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("beside", [False, True], ids=["now", "as stored before"])
def test_an_early_first_pool_is_kept(atlas_url, tmp_path, rng, beside):
    early = replace(TRUNK, stem_pool_lead=1)
    url = write_model(
        tmp_path / "port", random_weights(rng, 6, config=early), config=TRUNK if beside else early
    )
    if beside:
        group = urls.open_group(url, mode="r+")
        group.attrs["config"] = {**group.attrs["config"], "stem_pool_lead": 1}
    assert atlasbasset.load_model(url).trunk.config == early
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=transfer(url))
    assert atlasbasset.load_model(tmp_path / "m").trunk.config == early


def test_a_size_that_is_none_is_refused(atlas_url, tmp_path):
    with pytest.raises(UserInputError, match="much is no size"):
        atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(), memory="much")
    settings = check_training(
        Atlas.open(atlas_url), out=tmp_path / "m", config=config(), memory="8GB"
    )
    assert settings == config().with_epochs(40)


def test_a_second_run_at_the_same_time_is_refused(atlas_url, tmp_path):
    told = []

    def second(event):
        if isinstance(event, TrainingStart):
            with pytest.raises(UserInputError, match=r"is working on .*/m;") as refused:
                atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=1))
            told.append(str(refused.value))

    report = atlasbasset.train(
        atlas_url, out=tmp_path / "m", config=config(epochs=1), on_event=second
    )
    assert len(told) == len(report.history) == 1
    assert len(atlasbasset.train(atlas_url, out=tmp_path / "m", config=config()).history) == 3


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([f"c{i}" for i in range(40)], "makes every one of 40 cells a batch of its own"),
        ([""] * 20 + ["nan"] * 20, "has no label for any of 40 cells"),
        (["x", "y", "nan", ""] * 10, "20 of 40 cells have no batch in obs column 'lane'"),
    ],
)
def test_batches_that_are_none_are_refused_before_the_work(atlas_url, tmp_path, batches, message):
    opened = Atlas.open(atlas_url)
    opened.obs = opened.obs.assign(lane=batches)
    with pytest.raises(UserInputError) as caught:
        check_training(opened, out=tmp_path / "m", config=config(batch_key="lane"))
    assert message in str(caught.value)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("per_batch", "message"),
    [(2, "'lane' has 20 batches of 2.0 cells"), (40, "has one batch (l0) for all cells")],
)
def test_doubtful_batches_are_warned_of(atlas_url, tmp_path, monkeypatch, per_batch, message):
    opened = Atlas.open(atlas_url)
    opened.obs = opened.obs.assign(lane=[f"l{i // per_batch}" for i in range(40)])
    monkeypatch.setattr(Atlas, "open", lambda _: opened)
    said = []

    def listen(event):
        said.append(event)
        if isinstance(event, TrainingStart):
            raise Stopped

    with pytest.raises(Stopped):
        atlasbasset.train(
            atlas_url, out=tmp_path / "m", config=config(batch_key="lane"), on_event=listen
        )
    told = [event.message for event in said if isinstance(event, Notice)]
    assert any(message in sentence for sentence in told)
    names = [f"l{i}" for i in range(40 // per_batch)]  # in natural order
    assert list(ModelStore.open(tmp_path / "m").batches) == names


def test_a_damaged_checkpoint_costs_no_more_than_itself(atlas_url, tmp_path):
    """The one before goes on to the bits of an undisturbed run, and it is said aloud."""
    settings = config(epochs=3, patience=3)
    for name in ("whole", "hit"):
        atlasbasset.train(atlas_url, out=tmp_path / name, config=settings)
    damaged = ModelStore.open(tmp_path / "hit").newest()
    trunk = urls.join(damaged.url, "trunk.safetensors")
    urls.write_bytes(trunk, urls.read_bytes(trunk)[:-1] + b"?")
    heard = []
    report = atlasbasset.train(
        atlas_url, out=tmp_path / "hit", config=settings, on_event=heard.append
    )
    said = [event.message for event in heard if isinstance(event, Notice)]
    assert any("Warning: the newest checkpoint of" in sentence for sentence in said)
    whole, again = (ModelStore.open(tmp_path / name).newest() for name in ("whole", "hit"))
    assert len(report.history) == 3
    assert again.checksums == whole.checksums
    for table in whole.tables:
        np.testing.assert_array_equal(again.rows(table, 0, 3), whole.rows(table, 0, 3))
