"""What a tracker of experiments takes, and how events become that."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from atlasbasset.engine.events import (
    CellsSolved,
    EpochEnd,
    PeaksSolved,
    TrainingEnd,
    TrainingStart,
)
from atlasstore.events import Notice, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EventLog", "Sink", "numbers"]

_EVERY_S = 5.0
"""Between two values of a stage under way."""


class Sink(ABC):
    """A run in a tracker, begun when it is made."""

    @abstractmethod
    def settings(self, values: Mapping[str, Any]) -> None:
        """Record what the run is: text and numbers, none of them twice."""

    @abstractmethod
    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Record numbers of a step: an epoch, or units that are done."""

    @abstractmethod
    def text(self, name: str, value: str) -> None:
        """Record a sentence."""

    @abstractmethod
    def close(self, *, failed: bool) -> None:
        """End the run."""


class EventLog:
    """A subscriber that records events in a sink.

    =================  ==========================================================================
    event              recorded
    =================  ==========================================================================
    `TrainingStart`    settings: peaks, cells, workers, arithmetic, device, the recipe's
    `EpochEnd`         ``epoch/...``: each number of the epoch's line of ``metrics.jsonl``, by epoch
    `CellsSolved`      ``solved/...``, by the epochs done
    `PeaksSolved`      ``peaks/...``, by the epochs done
    `Progress`         ``progress/STAGE``: share done 0..1, by units done; one value in 5 s, and the
                       last
    `Notice`           text ``notice``
    `TrainingEnd`      text ``ended``
    =================  ==========================================================================

    Parameters
    ----------
    sink
        Where to.
    clock
        Seconds.
    """

    def __init__(self, sink: Sink, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink, self._clock = sink, clock
        self._epoch = 0
        self._told: dict[str, float] = {}

    def __call__(self, event: object) -> None:
        """Record one event; what is not known is passed over."""
        if isinstance(event, TrainingStart):
            self._epoch = event.epochs_done
            self._sink.settings(_flat(asdict(event)))
        elif isinstance(event, EpochEnd):
            self._epoch = int(event.record["epoch"])
            self._sink.scalars(numbers("epoch", event.record), self._epoch)
        elif isinstance(event, CellsSolved):
            self._sink.scalars(numbers("solved", event.record), self._epoch)
        elif isinstance(event, PeaksSolved):
            self._sink.scalars(numbers("peaks", event.record), self._epoch)
        elif isinstance(event, Progress):
            self._on_progress(event)
        elif isinstance(event, Notice):
            self._sink.text("notice", event.message)
        elif isinstance(event, TrainingEnd):
            self._sink.text("ended", event.shown().message)

    def _on_progress(self, event: Progress) -> None:
        now, is_over = self._clock(), event.done >= event.total
        if is_over or now - self._told.get(event.stage, -_EVERY_S) >= _EVERY_S:
            self._told[event.stage] = now
            share = event.done / event.total if event.total else 1.0
            self._sink.scalars({f"progress/{event.stage}": share}, event.done)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return text, numbers and lists by name, ``settings.trunk.window_bp``; what is None is not."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            found[f"{prefix}{name}"] = value
    return found


def numbers(prefix: str, record: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a record but its epoch, as ``prefix/name``."""
    return {
        f"{prefix}/{name}": float(value)
        for name, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "epoch"
    }
