"""What a person sees of events, on a terminal and in a pipe."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from rich.console import Console

from atlasbasset.engine.events import (
    CellsSolved,
    EpochEnd,
    PeaksSolved,
    StepDone,
    TrainingEnd,
    TrainingStart,
)
from atlasjobs.output import progress
from atlasjobs.output.console import Output
from atlasjobs.output.progress import PlainView
from atlasjobs.output.training_lines import TrainingLines
from atlasstore.events import Notice, Progress

if TYPE_CHECKING:
    import pytest

START = TrainingStart(
    n_peaks=900, n_cells=50, workers=1, compute="bf16", device="cpu", epochs_done=0, epochs=3
)


def record(epoch: int, **changed: Any) -> dict[str, Any]:
    values = {
        "epoch": epoch,
        "loss": 0.5,
        "train_auroc": 0.7,
        "valid_auroc_per_cell": 0.65,
        "valid_auroc_per_peak": float("nan"),
        "sequences_per_s": 200.0,
        "seconds": 10.0,
        "seconds_measuring": 2.0,
        "seconds_waiting": 1.2,
        "memory_bytes": 2_340_000_000,
    }
    return values | changed


def events() -> list[object]:
    return [
        Notice("Three of [ten] peaks were removed."),
        Progress("reading", 1, 2, "cells"),
        Progress("reading", 2, 2, "cells"),
        START,
        StepDone(1, 5, 10, 100.0),
        EpochEnd(record(1)),
        EpochEnd(record(2)),
        CellsSolved({"loss": 0.41236, "n_converged": 50, "seconds": 2.0, "epoch": 2}),
        PeaksSolved({"weight": None, "l2_cells": 10.0, "rounds": 0, "tried": []}),
        TrainingEnd("all is done", 2),
        object(),
    ]


def shown(*, terminal: bool) -> str:
    output, file = output_to_file(terminal=terminal)
    with output.watching() as on_event:
        for event in events():
            on_event(event)
    return file.getvalue()


def every_line(told: list[object]) -> str:
    """Lines of a pipe in which no line is too soon."""
    output, file = output_to_file(terminal=False)
    with PlainView(output, None, every_s=0.0) as view:
        for event in told:
            view(event)
    return file.getvalue()


def output_to_file(*, terminal: bool) -> tuple[Output, io.StringIO]:
    output, file = Output(), io.StringIO()
    output.console = Console(
        file=file, force_terminal=terminal, width=100, highlight=False, soft_wrap=True
    )
    return output, file


def test_a_pipe_gets_plain_lines() -> None:
    text = shown(terminal=False)
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.splitlines()[0] == "Three of [ten] peaks were removed."
    assert re.search(r"^reading: 2 cells in 0\.0 s$", text, flags=re.MULTILINE)
    assert "reading: 1 of 2" not in text
    assert "step 5" not in text
    assert "cells solved in 2.0 s: loss 0.4124, all converged" in text.splitlines()
    assert "\nPeaks stay at their sequences: deviations need 100 cells" in text
    assert text.splitlines()[-1] == "Training ended after epoch 2: all is done."


def test_a_pipe_gets_a_line_every_few_seconds() -> None:
    text = every_line(events())
    assert "reading: 1 of 2 cells" in text
    assert "epoch 1: step 5 of 10, 100 sequences/s" in text


def test_one_unit_is_named_as_one() -> None:
    told = every_line([Progress("writing", 0, 1, "groups"), Progress("writing", 1, 1, "groups")])
    assert "writing: 0 of 1 group" in told
    assert re.search(r"^writing: 1 group in ", told, flags=re.MULTILINE)


def test_a_terminal_gets_bars_and_the_same_lines() -> None:
    text = shown(terminal=True)
    assert "\x1b[" in text
    assert "epoch 1" in text
    assert "reading: 2 cells" in text


def test_bytes_have_a_rate_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    written = [Progress("writing", 0, 4, "cells"), Progress("writing", 2, 4, "cells", 8_000_000)]
    lines = every_line([*written, Progress("writing", 4, 4, "cells", 16_000_000)]).splitlines()
    assert re.search(
        r"writing: 2 of 4 cells, [\d.,]+ cells/s, [\d.]+ MB/s, [\d.]+ s left", lines[-2]
    )
    assert re.fullmatch(r"writing: 4 cells in [\d.]+ s, [\d.]+ MB/s", lines[-1])


def test_epoch_lines_are_aligned_under_their_header() -> None:
    lines = TrainingLines()
    lines.start(START)
    found = [lines.epoch(record(1)), lines.epoch(record(2, seconds=20.0)), lines.epoch(record(3))]
    assert {len(line) for line in found} == {len(lines.header)}
    told = "1/3 0.5000 0.700 0.650 - 200 12 % 2.34 GB 24 s"
    assert found[0].split() == told.split()
    assert lines.header.split()[-4:] == ["waiting", "memory", "time", "left"]
    assert found[1].endswith("17 s")  # the median of 12 s and 22 s
    assert found[2].endswith("done")


def test_cells_that_did_not_converge_are_told() -> None:
    solved = {"loss": 0.4, "n_converged": 1_234, "seconds": 2.0}
    assert TrainingLines().solved(solved).endswith("1,234 converged")
    lines = TrainingLines()
    lines.start(START)
    assert lines.solved(solved | {"n_converged": 49}).endswith("49 of 50 converged")


def test_workers_that_do_not_say_leave_the_time_open() -> None:
    assert TrainingLines().epoch(record(1)).split()[-1] == "-"
    assert TrainingLines(2).epoch(record(1)).split()[0] == "1/2"


def test_earlier_records_leave_waiting_and_memory_open() -> None:
    values = record(1)
    del values["seconds_waiting"], values["memory_bytes"]
    assert TrainingLines(2).epoch(values).split()[5:8] == ["200", "-", "-"]


def test_going_on_is_told() -> None:
    started = TrainingStart(
        n_peaks=900, n_cells=50, workers=2, compute="fp32", device="cpu", epochs_done=2, epochs=3
    )
    said = TrainingLines().start(started)
    assert "2 workers" in said
    assert "after epoch 2" in said
