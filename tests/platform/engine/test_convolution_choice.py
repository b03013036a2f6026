"""The convolution is measured once per machine, and a run keeps what it began with."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import atlasbasset
from atlasbasset.batch.model_source import ModelSource, model_identity
from atlasbasset.core.minimal import MinimalConvolution
from atlasbasset.engine import convolution_choice
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.convolution_choice import arithmetic_words, convolution_for
from atlasbasset.inference.model import load_model
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.models.model_store import ModelStore
from tiny import TRUNK, atlas, config

CPU, FP32 = torch.device("cpu"), torch.float32
WIDE = replace(TRUNK, tower_kernel=5)
N_TRAIN = 108
"""Training peaks of the atlas."""


@pytest.fixture(scope="module")
def atlas_url(tmp_path_factory):
    return atlas(tmp_path_factory.mktemp("atlas") / "atlas.zarr")


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A machine of its own, on which `minimal` is faster; the list grows with each measurement."""
    calls, fastest = [], convolution_choice._fastest

    def seconds():
        calls.append(1)
        return {"direct": 2.0, "minimal": 1.0}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(convolution_choice, "convolution_seconds", seconds)
    fastest.cache_clear()
    yield calls
    fastest.cache_clear()


def test_a_machine_is_measured_once(measured, tmp_path):
    for _ in range(3):
        convolution_choice._fastest.cache_clear()  # another process
        assert convolution_for("auto", FP32, CPU) == "minimal"
    assert len(measured) == 1
    (kept,) = json.loads((tmp_path / "cache/atlasbasset/convolutions.json").read_text()).values()
    assert kept == {"direct": 2.0, "minimal": 1.0}


def test_the_choice_is_told_with_its_measurement_and_never_measured_for_it(measured, tmp_path):
    assert "as a measurement of this machine decides" in arithmetic_words("auto", FP32, CPU)
    assert not measured
    convolution_for("auto", FP32, CPU)
    path = tmp_path / "cache/atlasbasset/convolutions.json"
    assert arithmetic_words("auto", FP32, CPU) == (
        f"float32, minimal convolutions (measured: 1000 ms a stage, direct 2000 ms; kept in {path})"
    )
    assert arithmetic_words("direct", FP32, CPU) == "float32, direct convolutions"
    assert arithmetic_words("auto", torch.bfloat16, CPU) == "bf16 on cpu"
    assert arithmetic_words("auto", FP32, torch.device("cuda")) == "float32 on cuda"


@pytest.mark.parametrize("asked", ["auto", "direct"])
def test_a_verb_says_what_it_has_chosen_to_compute_in(measured, atlas_url, tmp_path, asked):
    events, out = [], str(tmp_path / "model.zarr")
    atlasbasset.train(atlas_url, out=out, config=config(epochs=1), on_event=events.append)
    said = [e.message for e in events if isinstance(e, Notice) and "Computing" in e.message]
    assert len(said) == 1
    assert said[0].startswith("Computing in float32, ")
    given = {"out": str(tmp_path / "d.zarr"), "convolution": asked}
    kind = "minimal convolutions (measured" if asked == "auto" else "direct convolutions"
    plan = atlasbasset.plan_denoise(out, atlas_url, **given)
    assert kind in dict(plan.lines())["arithmetic"]
    for is_finished in (False, True):  # and computes nothing
        events.clear()
        atlasbasset.denoise(out, atlas_url, **given, on_event=events.append)
        said = [e.message for e in events if isinstance(e, Notice) and "Computing" in e.message]
        assert len(said) == (asked == "auto" and not is_finished)
        assert all(kind in message for message in said)


@pytest.mark.parametrize("damage", ["", "[]", '{"a": 1}'])
def test_damaged_measurements_are_made_again(measured, tmp_path, damage):
    path = tmp_path / "cache/atlasbasset/convolutions.json"
    path.parent.mkdir(parents=True)
    path.write_text(damage)
    assert convolution_for("auto", FP32, CPU) == "minimal"
    assert len(measured) == 1


def test_other_threads_are_another_machine(measured):
    convolution_choice._fastest(1)
    convolution_choice._fastest(7)
    assert len(measured) == 2


def test_what_is_asked_for_is_not_measured(measured):
    assert convolution_for("direct", FP32, CPU) == "direct"
    assert convolution_for("minimal", FP32, CPU) == "minimal"
    assert convolution_for("auto", torch.bfloat16, CPU) == "direct"
    assert convolution_for("minimal", torch.float64, CPU) == "direct"
    assert not measured


@pytest.mark.parametrize(
    ("given", "kept"), [("auto", "minimal"), ("direct", "direct"), ("minimal", "minimal")]
)
@pytest.mark.usefixtures("measured")
def test_a_resumed_run_keeps_its_convolution(atlas_url, tmp_path, monkeypatch, given, kept):
    said = []
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=1, convolution=given))
    assert ModelStore.open(tmp_path / "m").config["train"]["convolution"] == kept
    monkeypatch.setattr(convolution_choice, "_fastest", lambda _threads: "direct")
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=2), on_event=said.append)
    (start,) = (e for e in said if type(e).__name__ == "TrainingStart")
    assert ("minimal" in start.compute) == (kept == "minimal")


def test_models_from_before_the_choice_were_direct():
    stored = config().as_json()
    del stored["convolution"]
    assert TrainConfig.from_json(stored).convolution == "direct"


def test_minimal_learns_what_direct_does(atlas_url, tmp_path):
    """Three steps of all training peaks, so that a loss is that of one step.

    Weights changed by one rounding move these losses of a direct run by at most 3e-7 (20 runs); a
    minimal convolution may err by six roundings (tests/platform/core/test_minimal.py). In batches
    of 16 one rounding may move them a thousand times as far: where another position is the largest
    of its pool, one sixteenth of a gradient changes. Adam does not see the size of a gradient;
    test_minimal compares it.
    """
    losses = {}
    for kind in ("direct", "minimal"):
        settings = config(epochs=3, convolution=kind, trunk=WIDE, batch_size=N_TRAIN)
        report = atlasbasset.train(atlas_url, out=tmp_path / kind, config=settings)
        losses[kind] = [epoch["loss"] for epoch in report.history]
    np.testing.assert_allclose(losses["minimal"], losses["direct"], rtol=2e-6)


def test_workers_compute_as_the_driver_does(atlas_url, tmp_path, monkeypatch):
    model = str(tmp_path / "m")
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1, trunk=WIDE))
    minimal, direct = (load_model(model, convolution=kind) for kind in ("minimal", "direct"))
    assert model_identity(minimal) != model_identity(direct)
    monkeypatch.setattr(convolution_choice, "_fastest", lambda _threads: "direct")
    source = ModelSource(model, model_identity(minimal))
    assert source.embedder.trunk.convolution == "minimal"
    assert ModelSource(model, model_identity(direct)).embedder.trunk.convolution == "direct"


def test_another_convolution_is_refused(atlas_url, tmp_path):
    with pytest.raises(UserInputError, match="convolution must be one of auto, direct, minimal"):
        config(convolution="fft")
    model = str(tmp_path / "m")
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1))
    with pytest.raises(UserInputError, match="convolution must be auto, direct or minimal"):
        load_model(model, convolution="fft")


def test_embeddings_are_computed_by_the_convolution_asked_for(atlas_url, tmp_path, monkeypatch):
    def refuse(self, x, out):
        raise AssertionError("computed")

    model = str(tmp_path / "m")
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1, trunk=WIDE))
    codes = np.zeros((2, WIDE.window_bp), np.uint8)
    direct = load_model(model, convolution="direct").embed(codes)
    minimal = load_model(model, convolution="minimal").embed(codes)
    np.testing.assert_allclose(minimal, direct, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(MinimalConvolution, "outputs", refuse)
    load_model(model, convolution="direct").embed(codes)
    with pytest.raises(AssertionError, match="computed"):
        load_model(model, convolution="minimal").embed(codes)
