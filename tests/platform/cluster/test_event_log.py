"""Events as JSON lines: who, where, when, what."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from atlasbasset.cluster.event_log import EventLog, handed_on, logged, run_id
from atlasbasset.engine.events import EpochEnd, StepDone
from atlasstore.events import Notice, Progress


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_line_says_who_where_and_what(tmp_path, monkeypatch):
    monkeypatch.setenv("ATLASBASSET_RUN", "train-1")
    log = EventLog(str(tmp_path / "log"), rank=3)
    log(Notice("one sentence"))
    log(EpochEnd({"epoch": 1, "loss": 0.5}))
    log("no event")
    first, second = lines(tmp_path / "log")
    assert first.pop("time").endswith("+00:00")
    who = {"run": "train-1", "rank": 3, "node": socket.gethostname()}
    assert first == {**who, "event": "notice", "message": "one sentence"}
    assert second["event"] == "epoch_end"
    assert second["record"] == {"epoch": 1, "loss": 0.5}


def test_what_comes_often_is_written_now_and_then(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = EventLog(str(tmp_path / "log"))
    for step in range(100):
        now[0] = step / 10
        log(StepDone(1, step, 100, 50.0))
        log(Progress("reading", step, 100, "cells"))
    assert [line["step"] for line in lines(tmp_path / "log") if "step" in line] == [0, 50]
    assert len(lines(tmp_path / "log")) == 4


def test_a_signed_url_loses_its_signature(tmp_path):
    log = EventLog(str(tmp_path / "log"))
    log.write("Notice", {"message": "read https://h/a?X-Amz-Signature=s1gned"})
    assert "s1gned" not in (tmp_path / "log").read_text()


def test_the_log_is_asked_for_by_a_variable(tmp_path, monkeypatch, capsys):
    seen = []
    monkeypatch.delenv("ATLASBASSET_LOG", raising=False)
    assert logged(seen.append) == seen.append
    monkeypatch.setenv("ATLASBASSET_LOG", "-")
    logged(seen.append, rank=0)(Notice("hello"))
    assert seen == [Notice("hello")]
    assert json.loads(capsys.readouterr().err)["message"] == "hello"


def test_workers_log_as_part_of_their_drivers_run(tmp_path, monkeypatch):
    for name in ("ATLASBASSET_RUN", "ATLASBASSET_LOG"):
        monkeypatch.delenv(name, raising=False)
    ours = f"{socket.gethostname()}-{os.getpid()}"
    assert handed_on() == {"ATLASBASSET_RUN": ours}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATLASBASSET_LOG", "log")
    assert handed_on()["ATLASBASSET_LOG"] == str(Path("log").absolute())
    monkeypatch.setenv("ATLASBASSET_LOG", "-")
    monkeypatch.setenv("ATLASBASSET_RUN", "train-1")
    assert handed_on() == {"ATLASBASSET_RUN": "train-1", "ATLASBASSET_LOG": "-"}
    assert run_id() == "train-1"
