"""Two ways to show events: live bars on a terminal, plain lines elsewhere.

Plain lines come at most every few seconds per stage, plus one when a stage ends, and carry no
control characters. A view is called from one thread at a time or, for followed workers, from a
second one: printing whole lines is safe in both.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from atlasbasset.engine.events import (
    CellsSolved,
    EpochEnd,
    StepDone,
    TrainingEnd,
    TrainingStart,
)
from atlasjobs.output.training_lines import TrainingLines
from atlasstore.events import Notice, Progress
from atlasstore.text_units import count, duration, rate, size

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

    from atlasjobs.output.lines import Printer

__all__ = ["LiveView", "PlainView"]

_EVERY_S = 5.0


class _View:
    """What both views share: training lines, notices, how long each stage has run."""

    def __init__(self, output: Printer, epochs: int | None) -> None:
        self._output = output
        self._lines = TrainingLines(epochs)
        self._header_shown = False
        self._began: dict[str, float] = {}
        self._began_with: dict[str, Progress] = {}

    def __call__(self, event: object) -> None:
        """Show one event; what is not known is passed over."""
        if isinstance(event, Progress):
            self._began.setdefault(event.stage, time.monotonic())
            self._began_with.setdefault(event.stage, event)
            self._on_progress(event)
        elif isinstance(event, Notice):
            self._output.line(event.message, style="yellow")
        elif isinstance(event, TrainingStart):
            self._output.line(self._lines.start(event))
        elif isinstance(event, StepDone):
            self._on_step(event)
        elif isinstance(event, EpochEnd):
            self._on_epoch(event)
        elif isinstance(event, CellsSolved):
            self._output.line(self._lines.solved(event.record))
        elif isinstance(event, TrainingEnd):
            self._output.line(f"Training ended after epoch {event.epochs}: {event.reason}.")

    def _on_epoch(self, event: EpochEnd) -> None:
        if not self._header_shown:
            self._output.line(self._lines.header, style="bold")
            self._header_shown = True
        self._output.line(self._lines.epoch(event.record))

    def _stage_done(self, event: Progress) -> None:
        speed = _with_comma(self._speed(event))
        took = duration(time.monotonic() - self._began.pop(event.stage))
        self._began_with.pop(event.stage)
        self._output.line(
            f"{event.stage}: {count(event.total)} {event.unit} in {took}{speed}", style="dim"
        )

    def _speed(self, event: Progress) -> str:
        """Return bytes per second since the stage was first heard of; nothing where uncounted."""
        n_bytes = event.n_bytes - self._began_with[event.stage].n_bytes
        took = time.monotonic() - self._began[event.stage]
        return f"{size(n_bytes / took)}/s" if n_bytes and took > 0 else ""

    def _on_progress(self, event: Progress) -> None:
        raise NotImplementedError

    def _on_step(self, event: StepDone) -> None:
        raise NotImplementedError


class PlainView(_View):
    """Lines for logs and pipes."""

    def __init__(self, output: Printer, epochs: int | None) -> None:
        super().__init__(output, epochs)
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _on_progress(self, event: Progress) -> None:
        if event.done >= event.total:
            self._stage_done(event)
        elif self._due():
            self._output.line(
                f"{event.stage}: {count(event.done)} of {count(event.total)} {event.unit}"
                f"{self._pace(event)}"
            )

    def _pace(self, event: Progress) -> str:
        """Return rate and time left, by what was done since the stage was first heard of."""
        began_at, began_with = self._began[event.stage], self._began_with[event.stage]
        done, took = event.done - began_with.done, time.monotonic() - began_at
        if done <= 0 or took <= 0:
            return ""
        left = duration((event.total - event.done) * took / done)
        speed = _with_comma(self._speed(event))
        return f", {rate(done / took, event.unit)}{speed}, {left} left"

    def _on_step(self, event: StepDone) -> None:
        if event.step < event.steps and self._due():
            self._output.line(
                f"epoch {event.epoch}: step {event.step} of {event.steps}, "
                f"{event.sequences_per_s:.0f} sequences/s"
            )

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last_line < _EVERY_S:
            return False
        self._last_line = now
        return True


def _with_comma(text: str) -> str:
    return f", {text}" if text else ""


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        found = task.fields.get("rate") or task.finished_speed or task.speed
        return Text("" if found is None else rate(found, task.fields["unit"]))


class LiveView(_View):
    """Bars that are redrawn in place; finished stages and epochs stay as lines above them."""

    def __init__(self, output: Printer, epochs: int | None) -> None:
        super().__init__(output, epochs)
        self._tasks: dict[str, TaskID] = {}
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            _Rate(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=output.console,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _on_progress(self, event: Progress) -> None:
        speed = self._speed(event)
        self._draw(event.stage, event.done, event.total, unit=event.unit, speed=speed)
        if event.done >= event.total:
            self._remove(event.stage)
            self._stage_done(event)

    def _on_step(self, event: StepDone) -> None:
        stage = f"epoch {event.epoch}"
        self._draw(stage, event.step, event.steps, unit="sequences", rate=event.sequences_per_s)

    def _on_epoch(self, event: EpochEnd) -> None:
        self._remove(f"epoch {event.record['epoch']}")
        super()._on_epoch(event)

    def _draw(
        self,
        stage: str,
        done: int,
        total: int,
        *,
        unit: str,
        rate: float | None = None,
        speed: str = "",
    ) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(
                stage, total=total, unit=unit, rate=rate, speed=speed
            )
        task = self._tasks[stage]
        self._bars.update(task, completed=done, total=total, rate=rate, speed=speed)

    def _remove(self, stage: str) -> None:
        if (task := self._tasks.pop(stage, None)) is not None:
            self._bars.remove_task(task)
            self._bars.refresh()
