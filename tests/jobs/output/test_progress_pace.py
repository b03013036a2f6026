"""A log's lines on a long stage: how fast it goes and how long it will take."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from atlasjobs.output import progress
from atlasjobs.output.console import Output
from atlasstore.events import Progress

if TYPE_CHECKING:
    import pytest


def lines(events: list[tuple[float, int]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines of a stage of 100 cells that was `done` so far at each time, in seconds."""
    output, file = Output(), io.StringIO()
    output.console = Console(file=file, width=100, highlight=False, soft_wrap=True)
    clock = {"now": 0.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    with output.watching() as on_event:
        for at, done in events:
            clock["now"] = at
            on_event(Progress("writing labels", done, 100, "cells"))
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
