"""What is refused, and errors of actors; Ray itself in `test_on_ray`."""

from __future__ import annotations

import errno
import json
import socket
from collections import defaultdict
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.batch.attempts import Attempts
from atlasbasset.batch.executor import WorkerPool, _Actor, _error
from atlasbasset.cluster.metrics import UnitMetrics
from atlasbasset.cluster.ray_session import _check_resources
from atlasbasset.verbs.map_cells.work import block_units, cell_units
from atlasbasset.verbs.shared.embed_peaks_work import peak_units
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Notice
from atlasstore.zarrio.blocks import cut_cells

UNIT = {"start": 0, "stop": 1}


@pytest.fixture
def no_ray(monkeypatch):
    """Actors in this process: the third of their stage."""
    monkeypatch.setattr("atlasbasset.batch.executor.check_attempt", lambda *_: None)
    monkeypatch.setattr("atlasbasset.batch.executor.actor_number", lambda _: 2)
    told = defaultdict(Told)
    metrics = partial(UnitMetrics, metric=told.__getitem__)
    monkeypatch.setattr("atlasbasset.batch.executor.UnitMetrics", metrics)
    return told


class Told:
    def __init__(self):
        self.tags = []

    def set(self, value, tags):
        self.tags.append(tags)

    inc = set


class FullDisk:
    def __call__(self, unit):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_of_an_actor_is_told_as_one_here(no_ray):
    row = _Actor(FullDisk, None, ".")({"index": 0, "unit": UNIT})
    found = _error(row["error"], row["value"], row["node"])
    assert isinstance(found, OSError)
    assert found.errno == errno.ENOSPC
    assert f"No space left on device (on {socket.gethostname()})" in str(found)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((-1,), "workers must be 0"),
        ((1, 0), "more than 0 CPUs"),
        ((1, float("nan")), "more than 0 CPUs"),
        ((1, 1, -1), "no less than 0 GPUs"),
        ((0, 1, 1), "given without workers"),
        ((0, 4), "4 CPUs per worker were given without workers"),
    ],
)
def test_workers_that_make_no_sense_get_one_sentence(numbers, message):
    with pytest.raises(UserInputError, match=message):
        WorkerPool(*numbers)


def test_where_workers_compute():
    assert [WorkerPool(0).device, WorkerPool(2).device, WorkerPool(2, 1, 0.5).device] == [
        None,
        "cpu",
        "cuda",
    ]


def test_what_workers_can_reach(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert WorkerPool(2).worker_url("a/b") == str(tmp_path / "a" / "b")
    assert WorkerPool(2).worker_url(Path("/a")) == "/a"
    assert WorkerPool(2).worker_url("s3://bucket/a") == "s3://bucket/a"
    assert WorkerPool(0).worker_url("memory://a") == "memory://a"
    with pytest.raises(UserInputError, match="memory://a is in the memory of this process"):
        WorkerPool(2).worker_url("memory://a")


def test_a_machine_that_is_too_small_is_refused_and_a_cluster_may_grow():
    events = []
    needed, present = {"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0}
    with pytest.raises(UserInputError, match=r"8 CPUs \(there are 4\) and 2 GPUs \(there are 0\)"):
        _check_resources(needed, present, events.append, joined=False)
    assert events == []
    _check_resources(needed, present, events.append, joined=True)
    assert [type(event) for event in events] == [Notice]
    _check_resources({"CPU": 4.0}, present, events.append, joined=False)
    assert len(events) == 1


@given(n_cells=st.integers(1, 10_000), block_cells=st.integers(1, 3000))
def test_blocks_and_peaks_are_cut_into_units_once(n_cells, block_cells):
    blocks = cut_cells(n_cells, block_cells)
    for units in (block_units(blocks), cell_units(blocks), peak_units(n_cells)):
        covered = [i for unit in units for i in range(unit["start"], unit["stop"])]
        assert covered == list(range(n_cells))
    assert [unit["block"] for unit in block_units(blocks)] == list(range(len(blocks)))


class Raising:
    def __init__(self, error):
        self.error = error

    def __call__(self, unit):
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("chr7"), "KeyError: 'chr7'"),
        (RuntimeError("shapes\n  do not\nmatch"), "RuntimeError: shapes do not match"),
        (MemoryError(), "fewer --workers on a machine"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "fewer --workers on a machine"),
    ],
)
def test_an_unexpected_error_of_an_actor_is_one_sentence(no_ray, error, message):
    row = _Actor(lambda: Raising(error), None, ".")({"index": 0, "unit": UNIT})
    found = _error(row["error"], row["value"], row["node"])
    assert type(found) is AtlasError
    assert found.__notes__[0] == f"on {socket.gethostname()}:"
    assert any("in __call__" in note for note in found.__notes__), "the traceback is told here"
    assert message in str(found)
    assert type(error).__name__ in str(found)
    assert "start 0, stop 1" in str(found)
    assert "\n" not in str(found)


class Named:
    stage = "writing predictions"

    def __call__(self, unit):
        if unit["start"]:
            raise KeyError("chr7")
        return {"bytes": 12}


def test_an_actor_logs_what_it_begins_ends_and_fails_of(no_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("ATLASBASSET_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("ATLASBASSET_RUN", "denoise-1")
    actor = _Actor(Named, None, ".")
    for start in (0, 1):
        actor({"index": start, "unit": {"start": start, "stop": start + 1}})
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        *("batch_begin", "batch_end"),
        *("batch_begin", "batch_error"),
    ]
    for line in lines:
        who = (line["run"], line["rank"], line["node"], line["stage"])
        assert who == ("denoise-1", 2, socket.gethostname(), "writing predictions")
    _, end, begun, failed = lines
    assert (end["n_bytes"], begun["units"]) == (12, {"start": 1, "stop": 2})
    assert failed["error"] == "KeyError: 'chr7'"
    assert "in __call__" in failed["traceback"]


def test_metrics_of_an_actor_have_its_number(no_ray, monkeypatch):
    monkeypatch.setenv("ATLASBASSET_RUN", "denoise-1")
    _Actor(Named, None, ".")({"index": 0, "unit": UNIT})
    tags = [one for metric in no_ray.values() for one in metric.tags]
    assert tags == [{"run": "denoise-1", "rank": "2"}] * 3


def test_an_actor_that_is_started_again_keeps_its_number():
    attempts = Attempts()
    assert [attempts.number(actor) for actor in ("a", "b", "a", "c")] == [0, 1, 0, 2]
