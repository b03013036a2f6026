"""Batch correction in whole runs: composition stays, predictions do not depend on the division."""

from __future__ import annotations

import numpy as np
import pytest

import atlasbasset
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.events import StepDone
from atlasstore.events import Notice
from atlasstore.models.model_store import ModelStore
from tiny import atlas, config

N = 160
KIND = np.arange(N) * 2 // N  # the tiny atlas's first and second half
DONOR = np.where(np.random.default_rng(0).random(N) < np.where(KIND == 0, 0.8, 0.3), "d1", "d2")
FAST = {"cell_start": "svd", "final_solve": True, "epochs": 1, "batch_key": "donor"}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return atlas(
        tmp_path_factory.mktemp("atlas") / "a.zarr",
        n_cells=N,
        n_peaks=200,
        donor=DONOR,
        half=np.where(KIND == 0, "a", "b"),
    )


def gaps(model):
    """How far donors are apart within a kind, along the kinds' axis, as a share of their gap."""
    embedding = atlasbasset.load_model(model).cell_embedding.astype(float)
    mean = {
        (kind, donor): embedding[(kind == KIND) & (donor == DONOR)].mean(0)
        for kind in (0, 1)
        for donor in ("d1", "d2")
    }
    axis = sum(mean[0, donor] - mean[1, donor] for donor in ("d1", "d2")) / 2
    return [float((mean[kind, "d1"] - mean[kind, "d2"]) @ axis / (axis @ axis)) for kind in (0, 1)]


def test_a_label_with_another_composition_leaves_the_kinds_where_they_are(url, tmp_path):
    for effect in ("given_state", "free"):
        atlasbasset.train(url, out=tmp_path / effect, config=config(**FAST, batch_effect=effect))
    assert np.abs(gaps(tmp_path / "given_state")).max() < 0.1
    assert max(gaps(tmp_path / "free")) < -0.3  # what was common in a donor is taken from it


@pytest.mark.slow
def test_two_workers_tell_batches_as_one_does(url, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    atlasbasset.train(url, out=one, config=config(**FAST))
    atlasbasset.train(url, out=two, config=config(**FAST), workers=2, launcher="process")
    found = [atlasbasset.load_model(model).batch_embedding for model in (one, two)]
    np.testing.assert_allclose(found[1], found[0], atol=1e-2)
    assert np.abs(gaps(two)).max() < 0.1


def test_without_a_solve_sums_are_divided_at_the_end_and_predictions_stay(url, tmp_path):
    models = {}
    for effect in ("given_state", "free"):
        settings = config(epochs=2, batch_key="donor", batch_effect=effect)
        atlasbasset.train(url, out=tmp_path / effect, config=settings)
        models[effect] = atlasbasset.load_model(tmp_path / effect)
    sums = [model.table()[0] for model in models.values()]
    np.testing.assert_allclose(sums[0], sums[1], atol=1e-5)
    rows = [model.batch_embedding for model in models.values()]
    assert np.abs(rows[0] - rows[1]).max() > 0.1  # random rows of the batches, and their gradients
    newest = ModelStore.open(tmp_path / "given_state").latest_name()
    settings = config(epochs=2, batch_key="donor")
    atlasbasset.train(url, out=tmp_path / "given_state", config=settings)
    assert ModelStore.open(tmp_path / "given_state").latest_name() == newest


@pytest.mark.parametrize("start", ["svd", "random"])
def test_batches_that_cannot_be_told_are_named_before_the_first_step(url, tmp_path, start):
    heard = []
    settings = config(epochs=1, batch_key="half", cell_start=start)
    report = atlasbasset.train(url, out=tmp_path / "m", config=settings, on_event=heard.append)
    (said,) = report.notices
    assert "a | b" in said
    told = [i for i, e in enumerate(heard) if isinstance(e, Notice) and e.message == said]
    steps = [i for i, event in enumerate(heard) if isinstance(event, StepDone)]
    assert len(told) == 1
    assert told[0] < steps[0]


def test_models_begun_before_there_was_a_choice_go_on_as_they_were():
    values = TrainConfig().as_json()
    assert TrainConfig.from_json(values).batch_effect == "given_state"
    del values["batch_effect"]
    assert TrainConfig.from_json(values).batch_effect == "free"
