"""What workers measure, and that the dashboard shows it; through Ray's exporter: tests/jobs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from atlasbasset.cluster import metrics
from atlasbasset.cluster.metrics import METRICS, TrainingMetrics, UnitMetrics

DASHBOARD = Path(__file__).resolve().parents[3] / "cluster-configs/grafana/atlasbasset.json"


@pytest.fixture
def told(monkeypatch):
    """A metric, and (name, value, tags) of each call."""
    calls = []

    class Metric:
        def __init__(self, name):
            self.name = name

        def set(self, value, tags):
            calls.append((self.name, value, tags))

        inc = set

    monkeypatch.setenv("ATLASBASSET_RUN", "job-1")
    return SimpleNamespace(calls=calls, metric=Metric)


def test_steps_are_told_now_and_then(told, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    training = TrainingMetrics(1, metric=told.metric)
    for step in range(1, 9):
        now[0] = step * 0.5
        training.step(64.0)
    tags = {"run": "job-1", "rank": "1"}
    once = [
        ("atlasbasset_step_seconds", 0.5, tags),
        ("atlasbasset_sequences_per_second", 64.0, tags),
        ("atlasbasset_steps", 4, tags),
    ]
    assert told.calls == once * 2


def test_an_epoch_tells_its_loss_and_the_wait_for_data(told):
    TrainingMetrics(0, metric=told.metric).epoch(
        {"epoch": 3, "loss": 0.4, "seconds": 8.0, "seconds_waiting": 2.0}
    )
    assert {name: value for name, value, _ in told.calls} == {
        "atlasbasset_epoch": 3,
        "atlasbasset_loss": 0.4,
        "atlasbasset_data_wait_share": 0.25,
    }


def test_a_unit_tells_its_time_and_bytes(told):
    UnitMetrics(metric=told.metric).unit(1.5, 0)
    UnitMetrics(metric=told.metric).unit(2.5, 10)
    assert [(name, value) for name, value, _ in told.calls] == [
        ("atlasbasset_unit_seconds", 1.5),
        ("atlasbasset_units", 1),
        ("atlasbasset_unit_seconds", 2.5),
        ("atlasbasset_units", 1),
        ("atlasbasset_bytes", 10),
    ]


def test_the_dashboard_shows_every_metric_and_no_other():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    shown = {name for text in expressions for name in re.findall(r"ray_(atlasbasset_\w+)", text)}
    assert {name.removesuffix("_total") for name in shown} == set(METRICS)
    assert {name for name in shown if name.endswith("_total")} == {
        f"{name}_total" for name in metrics._COUNTERS
    }
    assert all('run=~"$run"' in text for text in expressions)
