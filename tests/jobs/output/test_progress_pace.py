"""A log's lines on a long stage: how fast it goes and how long it will take."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from atlasbasset.engine.events import MEASURING, EpochStart, StepDone
from atlasjobs.output import progress
from atlasjobs.output.console import Output
from atlasjobs.output.progress import PlainView
from atlasstore.events import Progress

if TYPE_CHECKING:
    import pytest


def lines(events: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of a stage of 100 cells that was `done` so far at each time, in seconds."""
    output, file = Output(), io.StringIO()
    output.console = Console(file=file, width=100, highlight=False, soft_wrap=True)
    clock = {"now": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now"])
    with PlainView(output, None, every_s=0.0) as view:
        for at, done in events:
            clock["now"] = at
            view(Progress("writing labels", done, 100, "cells"))
    return file.getvalue().splitlines()


def test_rate_and_time_left(monkeypatch: pytest.MonkeyPatch):
    shown = lines([(0, 0), (10, 20), (20, 50), (30, 100)], monkeypatch)
    assert shown[0] == "writing labels: 0 of 100 cells"
    assert shown[1] == "writing labels: 20 of 100 cells, 2 cells/s, 40 s left"
    assert shown[2] == "writing labels: 50 of 100 cells, 2.5 cells/s, 20 s left"
    assert shown[3] == "writing labels: 100 cells in 30 s"


def test_what_an_earlier_run_did_is_not_counted_as_speed(monkeypatch: pytest.MonkeyPatch):
    shown = lines([(0, 60), (10, 70)], monkeypatch)
    assert shown[1] == "writing labels: 70 of 100 cells, 1 cells/s, 30 s left"


def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[PlainView, dict[str, float], io.StringIO]:
    """A view whose clock stands still until the test moves it."""
    output, file, clock = Output(), io.StringIO(), {"now": 0.0}
    output.console = Console(file=file, width=100, highlight=False, soft_wrap=True)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now"])
    return PlainView(output, None), clock, file


def test_a_stage_that_lasts_has_a_line_within_seconds(monkeypatch: pytest.MonkeyPatch):
    view, clock, file = watched(monkeypatch)
    view(Progress("embedding", 0, 100, "peaks"))
    view.look_at_clock()
    assert not file.getvalue()
    clock["now"] = 1.0
    view.look_at_clock()
    view.look_at_clock()
    assert file.getvalue().splitlines() == ["embedding: 0 of 100 peaks"]


def test_where_nothing_is_heard_a_line_comes_every_half_minute(monkeypatch: pytest.MonkeyPatch):
    view, clock, file = watched(monkeypatch)
    clock["now"] = 31.0
    view.look_at_clock()
    view(EpochStart(1, 0, 20))
    clock["now"] = 62.0
    view.look_at_clock()
    view(StepDone(1, 1, 20, 4.0))
    clock["now"] = 68.0
    view(StepDone(1, 2, 20, 4.0))
    assert file.getvalue().splitlines() == [
        "starting, nothing new for 31 s",
        "epoch 1: 0 of 20 steps, nothing new for 31 s",
        "epoch 1: step 2 of 20, 4 sequences/s, 5 min 33 s left",
    ]


def test_stages_within_an_epoch_end_without_a_line(monkeypatch: pytest.MonkeyPatch):
    view, _, file = watched(monkeypatch)
    for stage in (MEASURING, "writing"):
        view(Progress(stage, 4, 4, "peaks"))
    assert file.getvalue().splitlines() == ["writing: 4 peaks in 0.0 s"]


def test_a_terminal_has_a_bar_before_the_first_event():
    output, file = Output(), io.StringIO()
    output.console = Console(file=file, force_terminal=True, width=100, soft_wrap=True)
    with output.watching():
        pass
    assert "starting" in file.getvalue()
