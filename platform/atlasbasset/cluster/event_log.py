"""Events as JSON lines, one file for each machine: who, where, when, what.

``ATLASBASSET_LOG`` names the file, or ``-`` for standard error; unset, nothing is written. The
driver decides what the run is called and hands both to its workers (`handed_on`). Every line has
``time`` (ISO 8601, UTC), ``run``, ``rank`` (None: the driver), ``node`` and ``event``, and the
event's own fields.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasstore.redaction import shown_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasstore.events import Subscriber

__all__ = ["RUN_VARIABLE", "EventLog", "handed_on", "logged", "run_id"]

RUN_VARIABLE = "ATLASBASSET_RUN"
"""Holds the run's id, in workers and in the driver of a submitted job."""
_TARGET_VARIABLE = "ATLASBASSET_LOG"
_OFTEN = ("Progress", "StepDone")
"""Events that come many times a second; a few of them are enough."""
_EVERY_S = 5.0


class EventLog:
    """Writes events; a subscriber.

    Parameters
    ----------
    target
        A path, or ``-`` for standard error.
    rank
        Of a worker; None for the driver.
    """

    def __init__(self, target: str, *, rank: int | None = None) -> None:
        self._target = target
        self._who = {"run": run_id(), "rank": rank, "node": socket.gethostname()}
        self._written_at: dict[str, float] = {}

    def __call__(self, event: object) -> None:
        """Write one event, unless one of its kind was written just now and more will come."""
        if not is_dataclass(event):
            return
        kind = type(event).__name__
        if kind in _OFTEN and not self._is_due(kind):
            return
        values = {field.name: getattr(event, field.name) for field in fields(event)}
        self.write(kind, values)

    def write(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write one line."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": when, **self._who, "event": _snake(kind), **dict(values)}
        text = json.dumps(shown_values(line), default=str) + "\n"
        if self._target == "-":
            sys.stderr.write(text)
            sys.stderr.flush()
        else:  # whole lines, also where several processes of a machine append
            with Path(self._target).open("a", encoding="utf-8") as file:
                file.write(text)

    def _is_due(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._written_at.get(kind, -_EVERY_S) < _EVERY_S:
            return False
        self._written_at[kind] = now
        return True


def run_id() -> str:
    """Return the run's id: the submitted job's, or else the driver's node and process."""
    return os.environ.get(RUN_VARIABLE) or f"{socket.gethostname()}-{os.getpid()}"


def handed_on() -> dict[str, str]:
    """Return what the environment of a driver's workers must have to log as part of its run."""
    target = os.environ.get(_TARGET_VARIABLE)
    if not target:  # the nodes may have their own
        return {RUN_VARIABLE: run_id()}
    place = target if target == "-" else str(Path(target).absolute())
    return {RUN_VARIABLE: run_id(), _TARGET_VARIABLE: place}


def logged(on_event: Subscriber, *, rank: int | None = None) -> Subscriber:
    """Return a subscriber that also writes the log, where ``ATLASBASSET_LOG`` names one."""
    target = os.environ.get(_TARGET_VARIABLE)
    if not target:
        return on_event
    log = EventLog(target, rank=rank)

    def both(event: object) -> None:
        log(event)
        on_event(event)

    return both


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
