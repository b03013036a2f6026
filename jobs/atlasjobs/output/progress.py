"""Two ways to show events: live bars on a terminal, plain lines elsewhere.

Both give a sign of life within a second and then again and again, also where a stage says nothing
for minutes: a bar with the time that has passed, or a line. Plain lines come at most every few
seconds per stage, plus one when a stage ends, and carry no control characters. A view is called
from one thread at a time or, for followed workers, from a second one, and looks at its clock in a
thread of its own: printing whole lines is safe in all of them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from atlasbasset.engine.events import (
    BETWEEN_STEPS,
    CellsSolved,
    EpochEnd,
    EpochStart,
    PeaksSolved,
    StepDone,
    TrainingEnd,
    TrainingStart,
)
from atlasjobs.option_names import with_options
from atlasjobs.output.training_lines import TrainingLines
from atlasstore.events import Notice, Progress
from atlasstore.text_units import count, counted, duration, rate, size

if TYPE_CHECKING:
    from rich.progress import Task, TaskID

    from atlasjobs.output.lines import Printer

__all__ = ["LiveView", "PlainView"]

_SIGN_S = 1.0
"""Until the first line of a stage that lasts; how often the clock is looked at."""
_QUIET_S = 30.0
"""Between two lines when nothing is heard."""
_STARTING = "starting"


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
            self._on_stage(event)
        elif isinstance(event, Notice):
            self._output.line(with_options(event.message), style="yellow")
        elif isinstance(event, TrainingStart):
            self._output.line(self._lines.start(event))
        elif isinstance(event, EpochStart):
            self._on_stage(event.shown())
        elif isinstance(event, StepDone):
            self._on_step(event)
        elif isinstance(event, EpochEnd):
            self._on_epoch(event)
        elif isinstance(event, CellsSolved):
            self._output.line(self._lines.solved(event.record))
        elif isinstance(event, PeaksSolved):
            self._output.line(event.shown().message)
        elif isinstance(event, TrainingEnd):
            self._output.line(f"Training ended after epoch {event.epochs}: {event.reason}.")

    def _on_stage(self, event: Progress) -> None:
        self._began.setdefault(event.stage, time.monotonic())
        self._began_with.setdefault(event.stage, event)
        self._on_progress(event)

    def _on_epoch(self, event: EpochEnd) -> None:
        self._forget(f"epoch {event.record['epoch']}")
        if not self._header_shown:
            self._output.line(self._lines.header, style="bold")
            self._header_shown = True
        self._output.line(self._lines.epoch(event.record))

    def _stage_done(self, event: Progress) -> None:
        """Tell the end of a stage, unless an event of its own will."""
        speed = _with_comma(self._speed(event))
        took = duration(time.monotonic() - self._began[event.stage])
        self._forget(event.stage)
        if event.stage not in BETWEEN_STEPS:
            self._output.line(
                f"{event.stage}: {counted(event.total, event.unit)} in {took}{speed}", style="dim"
            )

    def _forget(self, stage: str) -> None:
        self._began.pop(stage, None)
        self._began_with.pop(stage, None)

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
    """Lines for logs and pipes; between two of a stage at least `every_s` seconds."""

    def __init__(self, output: Printer, epochs: int | None, *, every_s: float = 5.0) -> None:
        super().__init__(output, epochs)
        self._every_s = every_s
        self._last_line = self._last_heard = time.monotonic()
        self._current = Progress(_STARTING, 0, 0, "")
        self._told: set[str] = set()
        """Stages under way that have had a line."""
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._watch_clock, daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._clock.join()

    def _watch_clock(self) -> None:
        while not self._ended.wait(_SIGN_S):
            self.look_at_clock()

    def look_at_clock(self) -> None:
        """Print a line when the stage under way has had none, or nothing was heard for long."""
        event, now = self._current, time.monotonic()
        waited = now - self._last_heard
        is_new = event.stage not in self._told and event.stage != _STARTING
        if (is_new and waited >= _SIGN_S) or now - self._last_line >= _QUIET_S:
            self._last_line = now
            self._told.add(event.stage)
            self._output.line(self._standing(event, waited))

    def _standing(self, event: Progress, waited: float) -> str:
        so_far = f", nothing new for {duration(waited)}" if waited >= _QUIET_S else ""
        if not event.total:
            return f"{event.stage}{so_far}"
        done = f"{count(event.done)} of {counted(event.total, event.unit)}"
        return f"{event.stage}: {done}{self._pace(event)}{so_far}"

    def _on_progress(self, event: Progress) -> None:
        self._heard(event)
        if event.done >= event.total:
            self._told.discard(event.stage)
            self._current = Progress(event.stage, 0, 0, "")
            self._stage_done(event)
        elif self._due():
            self._told.add(event.stage)
            self._output.line(self._standing(event, 0))

    def _heard(self, event: Progress) -> None:
        self._current, self._last_heard = event, time.monotonic()

    def _pace(self, event: Progress) -> str:
        """Return rate and time left, by what was done since the stage was first heard of."""
        if event.stage not in self._began:
            return ""
        began_at, began_with = self._began[event.stage], self._began_with[event.stage]
        done, took = event.done - began_with.done, time.monotonic() - began_at
        if done <= 0 or took <= 0:
            return ""
        left = duration((event.total - event.done) * took / done)
        speed = _with_comma(self._speed(event))
        return f", {rate(done / took, event.unit)}{speed}, {left} left"

    def _on_step(self, event: StepDone) -> None:
        self._heard(event.shown())
        if event.step < event.steps and self._due():
            self._told.add(event.shown().stage)
            self._output.line(
                f"epoch {event.epoch}: step {event.step} of {event.steps}, "
                f"{event.sequences_per_s:.0f} sequences/s{self._left(event)}"
            )

    def _left(self, event: StepDone) -> str:
        """Return the time left in the epoch, where its beginning was heard."""
        stage = event.shown().stage
        if stage not in self._began:
            return ""
        done = event.step - self._began_with[stage].done
        took = time.monotonic() - self._began[stage]
        return f", {duration((event.steps - event.step) * took / done)} left" if done > 0 else ""

    def _due(self) -> bool:
        now = time.monotonic()
        if now - self._last_line < self._every_s:
            return False
        self._last_line = now
        return True


def _with_comma(text: str) -> str:
    return f", {text}" if text else ""


class _Done(ProgressColumn):
    """How much is done, of how much where that is known."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.completed:,.0f}/{task.total:,.0f}")


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
            _Done(),
            _Rate(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=output.console,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        self._draw(_STARTING, 0, None, unit="")
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
        stage = event.shown().stage
        self._draw(stage, event.step, event.steps, unit="sequences", rate=event.sequences_per_s)

    def _on_epoch(self, event: EpochEnd) -> None:
        self._remove(f"epoch {event.record['epoch']}")
        super()._on_epoch(event)

    def _draw(
        self,
        stage: str,
        done: int,
        total: int | None,
        *,
        unit: str,
        rate: float | None = None,
        speed: str = "",
    ) -> None:
        if stage != _STARTING:
            self._remove(_STARTING)
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
