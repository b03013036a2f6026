"""Interrupts that wait for the end of a step, and the wish to end that reaches other processes."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlasstore.files import urls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from atlasbasset.engine.config import TrainConfig

__all__ = ["Departure", "EndAsked", "held_back", "never"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOK_S = 2.0


@contextmanager
def held_back() -> Iterator[None]:
    """Let what a signal's handler raises wait until the block ends, which leaves things whole.

    The handlers are called at once, so that one that ends the process does. Where Python handles no
    signal, and outside the main thread, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {n: h for n in _SIGNALS if callable(h := signal.getsignal(n))}
    raised: list[BaseException] = []

    def hold(number: int, frame: FrameType | None) -> None:
        try:
            handlers[signal.Signals(number)](number, frame)
        except BaseException as error:  # noqa: BLE001 - raised below
            raised.append(error)

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if raised:
            raise raised[0]


def never() -> bool:
    """Return False: nobody asks these workers to end."""
    return False


class EndAsked:
    """Whether workers elsewhere are asked to end: a file that appears, looked for now and then.

    Parameters
    ----------
    url
        Of the file; the one who asks writes it.
    """

    def __init__(self, url: str | Path) -> None:
        self._url, self._look_at, self._found = url, 0.0, False

    def __call__(self) -> bool:
        """Return whether the file was there at the last look."""
        if time.monotonic() >= self._look_at and not self._found:
            self._found, self._look_at = urls.exists(self._url), time.monotonic() + _LOOK_S
        return self._found


class Departure:
    """Whether a node of the workers is about to be taken away, looked for now and then.

    Parameters
    ----------
    node_leaves
        Says so; all workers must ask it together. `never` is not asked at all.
    """

    def __init__(self, node_leaves: Callable[[], bool]) -> None:
        self._node_leaves, self._found = node_leaves, False
        self._look_at = time.monotonic()

    def is_due(self) -> bool:
        """Return whether it is time to look again, by this worker's clock."""
        return self._node_leaves is not never and time.monotonic() >= self._look_at

    def look(self) -> None:
        """Ask, together with all other workers."""
        self._found, self._look_at = self._node_leaves(), time.monotonic() + _LOOK_S

    def checkpoint_s(self, config: TrainConfig) -> float:
        """Return the seconds between checkpoints as things stand: none before a departure."""
        return 0.0 if self._found else config.checkpoint_s
