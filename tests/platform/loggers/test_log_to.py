"""Events sent to trackers of experiments, and read back with the trackers' own readers."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

import pytest

import atlasbasset
from atlasbasset.engine.events import CellsSolved, EpochEnd, PeaksSolved, TrainingEnd, TrainingStart
from atlasbasset.loggers.log_to import check_targets
from atlasbasset.loggers.sink import EventLog, Sink
from atlasbasset.loggers.trackers import TRACKERS
from atlasstore.errors import MissingExtraError, UserInputError
from atlasstore.events import Notice, Progress, ignore
from tiny import atlas, config

if TYPE_CHECKING:
    from pathlib import Path

START = TrainingStart(
    n_peaks=900,
    n_cells=50,
    workers=1,
    compute="bf16",
    device="cpu",
    epochs_done=0,
    epochs=2,
    settings={"recipe": "fast", "trunk": {"window_bp": 192}, "batch_key": None},
)
EVENTS = (
    START,
    EpochEnd({"epoch": 1, "loss": 0.5, "train_auroc": 0.7, "valid_auroc_per_peak": None}),
    EpochEnd({"epoch": 2, "loss": 0.25, "train_auroc": 0.75, "valid_auroc_per_peak": None}),
    Progress("solving all cells", 5, 10, "cells"),
    Progress("solving all cells", 10, 10, "cells"),
    CellsSolved({"loss": 0.125, "n_converged": 50, "epoch": 2}),
    Notice("Two cells are empty."),
    TrainingEnd("all is done", 2),
)
LOSSES = [(1, 0.5), (2, 0.25)]


class Kept(Sink):
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.given = {"settings": {}, "scalars": [], "text": {}, "failed": None}

    def settings(self, values):
        self.given["settings"] |= values

    def scalars(self, values, step):
        self.given["scalars"].append((dict(values), step))

    def text(self, name, value):
        self.given["text"][name] = value

    def close(self, *, failed):
        self.given["failed"] = failed


def log(target: str) -> None:
    with atlasbasset.log_to(target, on_event=ignore) as on_event:
        for event in EVENTS:
            on_event(event)


def test_what_of_events_is_recorded():
    sink = Kept()
    record = EventLog(sink, clock=iter([0.0, 1.0]).__next__)
    for event in (*EVENTS, PeaksSolved({"weight": 0.5, "tried": []}), object()):
        record(event)
    assert sink.given["settings"]["settings.trunk.window_bp"] == 192
    assert "settings.batch_key" not in sink.given["settings"]
    assert sink.given["scalars"] == [
        ({"epoch/loss": 0.5, "epoch/train_auroc": 0.7}, 1),
        ({"epoch/loss": 0.25, "epoch/train_auroc": 0.75}, 2),
        ({"progress/solving all cells": 0.5}, 5),
        ({"progress/solving all cells": 1.0}, 10),
        ({"solved/loss": 0.125, "solved/n_converged": 50.0}, 2),
        ({"peaks/weight": 0.5}, 2),
    ]
    ended = "Training ended after epoch 2: all is done."
    assert sink.given["text"] == {"notice": "Two cells are empty.", "ended": ended}


def test_a_stage_under_way_is_told_every_five_seconds():
    sink = Kept()
    record = EventLog(sink, clock=iter([0.0, 4.0, 5.5, 6.0]).__next__)
    for done in (1, 2, 3, 4):
        record(Progress("writing", done, 4, "cells"))
    assert [step for _, step in sink.given["scalars"]] == [1, 3, 4]


def test_events_are_shown_as_well_and_the_run_ends_as_the_work_did(monkeypatch):
    sink, seen = Kept(), []
    monkeypatch.setitem(TRACKERS, "kept", lambda place: sink)
    with atlasbasset.log_to("kept:x", on_event=seen.append) as on_event:
        on_event(START)
    assert (seen, sink.given["failed"]) == ([START], False)
    with pytest.raises(ZeroDivisionError), atlasbasset.log_to("kept:x", on_event=ignore):
        raise ZeroDivisionError
    assert sink.given["failed"] is True


def test_a_tracker_that_fails_is_left_out_and_the_work_goes_on(monkeypatch):
    class Failing(Kept):
        def scalars(self, values, step):
            raise ConnectionError("no route to host.")

    sink, seen = Failing(), []
    monkeypatch.setitem(TRACKERS, "failing", lambda place: sink)
    with atlasbasset.log_to("failing:x", on_event=seen.append) as on_event:
        for event in EVENTS:
            on_event(event)
    said = "failing:x has failed (ConnectionError: no route to host); nothing more is logged"
    notices = [event.message for event in seen if isinstance(event, Notice)]
    assert [message.startswith(said) for message in notices] == [True, False]
    assert seen[-1] == EVENTS[-1]
    assert sink.given["text"] == {}


def test_a_training_is_recorded_epoch_by_epoch(tmp_path, monkeypatch):
    sink = Kept()
    monkeypatch.setitem(TRACKERS, "kept", lambda place: sink)
    settings = config(epochs=2)
    url = atlas(tmp_path / "a")
    with atlasbasset.log_to("kept:x", on_event=ignore) as on_event:
        report = atlasbasset.train(url, out=tmp_path / "m", config=settings, on_event=on_event)
    epochs = [(v, step) for v, step in sink.given["scalars"] if "epoch/loss" in v]
    assert [step for _, step in epochs] == [1, 2]
    assert [v["epoch/loss"] for v, _ in epochs] == [r["loss"] for r in report.history]
    assert all(10**7 < v["epoch/memory_bytes"] < 10**11 for v, _ in epochs)
    assert sink.given["settings"]["settings.trunk.window_bp"] == settings.trunk.window_bp
    assert sink.given["text"]["ended"].startswith("Training ended after epoch 2")


@pytest.mark.parametrize("target", ["tensorboard", "tensorboard:", "neptune:x", "runs/a"])
def test_other_targets_get_one_sentence(target):
    with pytest.raises(UserInputError, match="give tensorboard:DIR, mlflow:URI or wandb:PROJECT"):
        check_targets([target])


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_told(tracker, monkeypatch, tmp_path):
    for module in (tracker, f"{tracker}.tracking"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=f"--log-to {tracker}:.* needs {tracker}"):
        log(f"{tracker}:{tmp_path / 'x'}")


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(f"tensorboard:{tmp_path}")
    found = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in found.Scalars("epoch/loss")] == LOSSES
    assert [e.step for e in found.Scalars("progress/solving_all_cells")] == [5, 10]
    text = found.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| settings.trunk.window_bp | 192 |" in text
    assert {"notice/text_summary", "ended/text_summary"} <= set(found.Tags()["tensors"])


@pytest.mark.filterwarnings("ignore")  # of the libraries below mlflow
@pytest.mark.parametrize("kind", ["folder", "database"])
def test_mlflow(tmp_path, monkeypatch, kind):
    pytest.importorskip("mlflow.tracking", reason="mlflow-skinny is not installed")
    if kind == "database":
        pytest.importorskip("skops", reason="databases need all of mlflow: pip install mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    uri = (tmp_path / "runs").as_uri() if kind == "folder" else f"sqlite:///{tmp_path / 'runs.db'}"
    log(f"mlflow:{uri}")
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("atlasbasset")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["settings.recipe"] == "fast"
    assert run.data.tags["notice"] == "Two cells are empty."
    losses = client.get_metric_history(run.info.run_id, "epoch/loss")
    assert [(metric.step, metric.value) for metric in losses] == LOSSES


def test_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    for name, value in (("MODE", "offline"), ("DIR", str(tmp_path)), ("SILENT", "true")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    log("wandb:atlas")
    (file,) = tmp_path.rglob("*.wandb")
    records = [wandb_internal_pb2.Record.FromString(part) for part in log_parts(file)]
    rows = [
        {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    losses = [(int(r["epochs"]), float(r["epoch/loss"])) for r in rows if "epoch/loss" in r]
    assert losses == LOSSES
    (ended,) = [r.exit.exit_code for r in records if r.WhichOneof("record_type") == "exit"]
    assert ended == 0


def log_parts(file: Path) -> list[bytes]:
    """The records of a file in LevelDB's log format, after W&B's 7 bytes."""
    content, at, parts, part = file.read_bytes(), 7, [], b""
    while at + 7 <= len(content):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        length, kind = struct.unpack("<4xHB", content[at : at + 7])
        part += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            parts.append(part)
            part = b""
    return parts
