"""The training loop: it learns, it resumes exactly, and workers do not change the result."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import atlasbasset
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.core.trunk import Trunk
from atlasbasset.engine.checkpoints import cells_from
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.events import EpochEnd, StepDone, TrainingEnd, TrainingStart
from atlasbasset.engine.interrupts import never
from atlasbasset.engine.loop import Run, train_worker
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from command import snapshot
from tiny import TRUNK, atlas, config

MEASURED = ("loss", "penalty", "train_auroc", "valid_auroc_per_cell", "valid_auroc_per_peak")


@pytest.fixture(scope="module")
def atlas_url(tmp_path_factory):
    return atlas(tmp_path_factory.mktemp("atlas") / "atlas.zarr")


@pytest.fixture(scope="module")
def whole(atlas_url, tmp_path_factory):
    """Trained with the settings of `config()` without a disturbance."""
    return atlasbasset.train(atlas_url, out=tmp_path_factory.mktemp("whole") / "m", config=config())


@pytest.fixture(scope="module")
def trained(atlas_url, tmp_path_factory):
    """A model of one epoch, which tests look at or copy."""
    model = tmp_path_factory.mktemp("trained") / "m"
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1))
    return model


@pytest.fixture
def begun(trained, tmp_path):
    """A copy of the model of one epoch, to go on with."""
    return Path(shutil.copytree(trained, tmp_path / "begun"))


def figures(history):
    return [[record[name] for name in MEASURED] for record in history]


def metrics_of(model):
    lines = urls.read_bytes(urls.join(model, "metrics.jsonl")).decode().splitlines()
    return [json.loads(line) for line in lines]


def weights_of(model):
    store = ModelStore.open(model)
    checkpoint = store.newest()
    peaks = checkpoint.tensors("peaks") if checkpoint.has_tensors("peaks") else {}
    return checkpoint.tensors("trunk") | cells_from(checkpoint, store.n_cells) | peaks


def test_it_learns_and_records_every_epoch(atlas_url, tmp_path):
    events = []
    model = str(tmp_path / "m")
    report = atlasbasset.train(
        atlas_url, out=model, config=config(epochs=20), on_event=events.append
    )
    first = list(itertools.takewhile(lambda e: isinstance(e, Notice), events))
    assert first  # in what it computes; before it, where loops are compiled, that they are
    assert isinstance(events[len(first)], Progress)  # labels and sequences are read
    said = [e for e in events if not isinstance(e, Progress | Notice)]
    assert [type(e) for e in (said[0], said[-1])] == [TrainingStart, TrainingEnd]
    assert sum(isinstance(e, EpochEnd) for e in events) == 20
    assert sum(isinstance(e, StepDone) for e in events) == 20 * 7
    history = list(report.history)
    assert history == metrics_of(model)
    assert [r["epoch"] for r in history] == list(range(1, 21))
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["train_auroc"] > 0.7


def test_same_seed_same_losses_other_seed_others(atlas_url, tmp_path, whole):
    same, other = (
        atlasbasset.train(atlas_url, out=tmp_path / str(seed), config=config(seed=seed)).history
        for seed in (config().seed, 2)
    )
    assert figures(same) == figures(whole.history)
    assert figures(other) != figures(whole.history)


class Killed(Exception):
    pass


def interrupted_after(n_steps):
    def on_event(event):
        nonlocal n_steps
        n_steps -= isinstance(event, StepDone)
        if n_steps == 0:
            raise Killed

    return on_event


@pytest.mark.parametrize(("batch_key", "convolution"), [(None, "direct"), ("sample", "minimal")])
def test_a_resumed_run_equals_an_undisturbed_one(atlas_url, tmp_path, batch_key, convolution):
    """Bit for bit: everything a step depends on is in the checkpoint or in (seed, epoch, step)."""
    settings = config(epochs=2, batch_key=batch_key, l2_cells=1e-6, l2_batch=1e-6)
    settings = replace(settings, convolution=convolution, trunk=replace(TRUNK, tower_kernel=5))
    whole = atlasbasset.train(atlas_url, out=tmp_path / "whole", config=settings)
    settings, broken = replace(settings, checkpoint_s=0.0), tmp_path / "broken"
    for steps in (3, 1, 6, 2):
        with pytest.raises(Killed):
            atlasbasset.train(
                atlas_url, out=broken, config=settings, on_event=interrupted_after(steps)
            )
    resumed = atlasbasset.train(atlas_url, out=broken, config=settings)
    assert figures(resumed.history) == figures(whole.history)
    for name, expected in weights_of(str(tmp_path / "whole")).items():
        np.testing.assert_array_equal(weights_of(str(broken))[name], expected, err_msg=name)


def test_a_checkpoint_follows_at_once_when_a_node_is_about_to_leave(atlas_url, tmp_path):
    found = {}
    for name, leaves in (("stays", never), ("leaves", lambda: True)):
        url, settings = str(tmp_path / name), config(checkpoint_s=1e6)
        begun_store(Atlas.open(atlas_url), url, settings)
        with pytest.raises(Killed):
            train_worker(
                Run(atlas_url, url, settings),
                LocalRuntime(torch.device("cpu")),
                interrupted_after(4),
                node_leaves=leaves,
            )
        found[name] = ModelStore.open(url).latest()
    assert found["stays"] is None
    assert found["leaves"].state["step"] >= 1


EVERYTHING = {
    "cells_per_step": 10,
    "cell_start": "svd",
    "schedule": "cosine",
    "average": 0.9,
    "solve_every": 2,
    "final_solve": True,
    "peak_deviations": True,
    "peak_l2": 3.0,
    "per_cell_eps": True,
    "group_peaks": 40,
}


def test_a_resumed_run_with_everything_on_equals_an_undisturbed_one(atlas_url, tmp_path):
    """Sampled cells, streamed labels, schedule, average and solves: all from the checkpoint."""
    settings = config(**EVERYTHING)
    whole = atlasbasset.train(atlas_url, out=tmp_path / "whole", config=settings)
    settings, broken = replace(settings, checkpoint_s=0.0), tmp_path / "broken"
    for steps in (4, 2, 9):
        with pytest.raises(Killed):
            atlasbasset.train(
                atlas_url, out=broken, config=settings, on_event=interrupted_after(steps)
            )
    resumed = atlasbasset.train(atlas_url, out=broken, config=settings)
    assert figures(resumed.history) == figures(whole.history)
    for name, expected in weights_of(str(tmp_path / "whole")).items():
        np.testing.assert_array_equal(weights_of(str(broken))[name], expected, err_msg=name)
    states = [ModelStore.open(tmp_path / name).newest().state for name in ("whole", "broken")]
    quality = [state["final_solve"]["valid_auroc_per_cell"] for state in states]
    assert quality[0] == quality[1]


@pytest.mark.slow
def test_workers_do_what_one_does_with_everything_on(atlas_url, tmp_path):
    one = atlasbasset.train(atlas_url, out=tmp_path / "one", config=config(**EVERYTHING))
    two = atlasbasset.train(
        atlas_url, out=tmp_path / "two", config=config(**EVERYTHING), workers=2, launcher="process"
    )
    losses = [[r["loss"] for r in history] for history in (one.history, two.history)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    ends = [
        ModelStore.open(tmp_path / name).newest().state["final_solve"] for name in ("one", "two")
    ]
    assert ends[1]["loss"] == pytest.approx(ends[0]["loss"], rel=1e-3)


def test_the_finished_model_has_the_averaged_trunk(atlas_url, tmp_path):
    settings = config(epochs=1, average=0.9, final_solve=True)
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=settings)
    newest = ModelStore.open(tmp_path / "m").newest()
    average = newest.tensors("average")
    for name, values in newest.tensors("trunk").items():
        np.testing.assert_array_equal(values, average[f"module.{name}"], err_msg=name)


def test_the_final_solve_lowers_the_training_loss_to_the_best_for_the_trunk(atlas_url, tmp_path):
    """After it, a solve of the same cells has nothing left to do."""
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=1, final_solve=True))
    atlasbasset.map_cells(tmp_path / "m", atlas_url, out=tmp_path / "mapped", compute="fp32")
    found, expected = (weights_of(str(tmp_path / name)) for name in ("m", "mapped"))
    np.testing.assert_allclose(found["embedding"], expected["embedding"], atol=1e-3)


def test_sampled_cells_see_an_unbiased_loss(atlas_url, tmp_path):
    """Without learning, the sampled loss of an epoch scatters around the whole one."""
    still = config(epochs=8, learning_rate=1e-12, max_shift_bp=0, reverse_complement=False)
    whole, part = (
        atlasbasset.train(
            atlas_url, out=tmp_path / str(n), config=replace(still, cells_per_step=n)
        ).history
        for n in (0, 10)
    )
    losses = [[record["loss"] for record in history] for history in (whole, part)]
    error = np.std(losses[1]) / np.sqrt(len(losses[1]))
    assert abs(np.mean(losses[1]) - np.mean(losses[0])) < 4 * error
    assert error < 0.02 * np.mean(losses[0])


def test_a_frozen_trunk_stays(atlas_url, tmp_path):
    frozen = config(epochs=2, freeze_epochs=2)
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=frozen)
    found = ModelStore.open(tmp_path / "m").newest().tensors("trunk")
    start = Trunk.initialised(frozen.trunk, seed=frozen.seed).state_dict()
    for name, values in found.items():
        np.testing.assert_array_equal(values, start[name].numpy(), err_msg=name)


def test_more_epochs_go_on_where_it_stopped(atlas_url, whole, begun):
    parts = atlasbasset.train(atlas_url, out=begun, config=config(epochs=3))
    assert figures(parts.history) == figures(whole.history)
    again = atlasbasset.train(atlas_url, out=begun, config=config(epochs=3))
    assert again.stopped_because == "all 3 epochs are done"


def test_a_metrics_file_behind_its_checkpoint_is_mended(atlas_url, begun):
    """A kill between publishing the last checkpoint and copying its records."""
    history = metrics_of(begun)
    (begun / "metrics.jsonl").write_bytes(b"")
    atlasbasset.train(atlas_url, out=begun, config=config(epochs=1))
    assert metrics_of(begun) == history != []


@pytest.mark.slow
def test_a_remote_model_that_was_never_finished_is_begun_again(atlas_url, monkeypatch):
    def die(*_args):
        raise Killed

    model = "memory://models/unfinished"
    with monkeypatch.context() as patch:
        patch.setattr("atlasstore.models.model_store.table_io.finish", die)
        patch.setattr("atlasstore.files.staging.urls.delete", lambda _url: None)  # as after kill -9
        with pytest.raises(Killed):
            atlasbasset.train(atlas_url, out=model, config=config(epochs=1))
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1))
    assert len(metrics_of(model)) == 1


def test_the_stopping_rule(atlas_url, tmp_path):
    """With a rise of at least 1 asked for, the first epoch stays the best."""
    report = atlasbasset.train(
        atlas_url, out=tmp_path / "m", config=config(epochs=50, patience=2, min_rise=1.0)
    )
    assert len(report.history) == 3
    assert "has not risen in 2 epochs" in report.stopped_because


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_workers_do_what_one_does(atlas_url, tmp_path, workers):
    """To rounding: float32 sums in another order, amplified a little by three epochs of Adam."""
    one = atlasbasset.train(atlas_url, out=tmp_path / "one", config=config(epochs=2))
    many = atlasbasset.train(
        atlas_url,
        out=tmp_path / "many",
        config=config(epochs=2),
        workers=workers,
        launcher="process",
    )
    np.testing.assert_allclose(figures(many.history), figures(one.history), rtol=2e-3, atol=2e-3)
    losses = [[r["loss"] for r in history] for history in (one.history, many.history)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.slow
def test_any_number_of_workers_resumes(atlas_url, tmp_path):
    one = atlasbasset.train(atlas_url, out=tmp_path / "one", config=config(epochs=2))
    model = tmp_path / "mixed"
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1), workers=2, launcher="process")
    mixed = atlasbasset.train(atlas_url, out=model, config=config(epochs=2))
    losses = [[r["loss"] for r in history] for history in (one.history, mixed.history)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.slow
def test_bf16_learns_as_fp32_does(atlas_url, tmp_path):
    """bfloat16 products with float32 sums: the same quality, not the same digits."""
    last = {
        compute: atlasbasset.train(
            atlas_url, out=tmp_path / compute, config=config(epochs=25, compute=compute)
        ).history[-1]
        for compute in ("fp32", "bf16")
    }
    assert last["bf16"]["loss"] == pytest.approx(last["fp32"]["loss"], rel=0.05)
    assert last["bf16"]["train_auroc"] == pytest.approx(last["fp32"]["train_auroc"], abs=0.05)


def test_batch_correction_has_its_own_tables(atlas_url, tmp_path):
    model = tmp_path / "m"
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1, batch_key="sample"))
    weights = weights_of(str(model))
    assert weights["batch_embedding"].shape == (1, 4)
    assert ModelStore.open(model).batches == ("one",)


def test_memory_urls(atlas_url):
    model = "memory://models/tiny"
    atlasbasset.train(atlas_url, out=model, config=config(epochs=1))
    assert len(metrics_of(model)) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 9}, "seed is 9, was 5"),
        ({"learning_rate": 0.5}, "learning_rate is 0.5, was 0.01"),
        ({"cells_per_step": 8}, "cells_per_step is 8, was 0"),
    ],
)
def test_other_settings_do_not_go_on_with_a_model(atlas_url, trained, changes, message):
    before = snapshot(trained)
    with pytest.raises(UserInputError, match=message):
        atlasbasset.train(atlas_url, out=trained, config=config(**changes))
    assert snapshot(trained) == before


def test_a_cosine_has_its_epochs_fixed(atlas_url, tmp_path):
    atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=1, schedule="cosine"))
    with pytest.raises(UserInputError, match="epochs is 2, was 1"):
        atlasbasset.train(atlas_url, out=tmp_path / "m", config=config(epochs=2, schedule="cosine"))


def test_another_atlas_does_not_go_on_with_a_model(trained, tmp_path):
    other = atlas(tmp_path / "other.zarr", seed=3)
    with pytest.raises(UserInputError, match="was not started on"):
        atlasbasset.train(other, out=trained, config=config())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 41}, "workers must be 1 to 4"),
        ({"launcher": "slurm"}, "launcher must be"),
        ({"config": config(max_shift_bp=9)}, "stores 3 bp"),
        ({"config": config(batch_key="donor")}, "no column 'donor'"),
    ],
)
def test_bad_settings_leave_nothing(atlas_url, tmp_path, options, message):
    with pytest.raises(UserInputError, match=message):
        atlasbasset.train(atlas_url, out=tmp_path / "m", **({"config": config()} | options))
    assert not (tmp_path / "m").exists()


def test_configuration_round_trip_and_unknown_keys():
    settings = config(batch_key="donor")
    assert TrainConfig.from_json(json.loads(json.dumps(settings.as_json()))) == settings
    with pytest.raises(UserInputError, match="unknown settings epoch;"):
        TrainConfig.from_json({"epoch": 3})
    for changes, message in (
        ({"epochs": -1}, "epochs must be 0 or more"),
        ({"beta1": 1.5}, "beta1 must be in"),
        ({"compute": "fp8"}, "compute must be one of auto, bf16, fp32"),
        ({"checkpoint_s": -1}, "checkpoint_s must be 0 or more"),
        ({"schedule": "linear"}, "schedule must be one of constant, cosine"),
        ({"average": 0.9}, "average needs final_solve"),
    ):
        with pytest.raises(UserInputError, match=message):
            replace(settings, **changes)


def test_a_worker_alone_needs_no_launcher(atlas_url, begun):
    run = Run(atlas_url, str(begun), config(epochs=2))
    train_worker(run, LocalRuntime(torch.device("cpu")), lambda _event: None)
    assert len(metrics_of(begun)) == 2
