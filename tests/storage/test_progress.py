"""Bars of functions called without a subscriber."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlasstore.events import Notice, Progress, ignore
from atlasstore.progress import shown

if TYPE_CHECKING:
    import pytest


@dataclass(frozen=True)
class Lap:
    n: int

    def shown(self) -> Progress:
        return Progress("laps", self.n, 3, "laps")


def test_a_given_subscriber_is_kept() -> None:
    told: list[object] = []
    with shown(told.append) as on_event:
        on_event(Notice("heard"))
    assert told == [Notice("heard")]


def test_where_nobody_looks_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with shown(None) as on_event:
        assert on_event is ignore
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_bars_and_notices_are_drawn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with shown(None) as on_event:
        on_event(Progress("reading counts", 0, 4, "cells"))
        on_event(Progress("reading counts", 4, 4, "cells"))
        on_event(Notice("2 peaks went."))
        on_event(Lap(1))
        on_event(object())
    told = capsys.readouterr()
    assert told.out == ""
    assert "reading counts: 100%" in told.err
    assert "4/4" in told.err
    assert "2 peaks went." in told.err
    assert "laps:  33%" in told.err
