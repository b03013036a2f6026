"""Interrupts that wait for the end of a step, and the wish to end that reaches other processes."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from atlasstore.files import urls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

__all__ = ["EndAsked", "held_back", "never"]

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
