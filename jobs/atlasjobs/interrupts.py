"""Ctrl-C and SIGTERM end the program in order.

The first of either raises KeyboardInterrupt, so that whatever is at work cleans up: it writes a
checkpoint or receipts, releases its claim, ends its processes. Another one ends the program at
once. Only the command line does this; functions called from a notebook meet the KeyboardInterrupt
that Python raises.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_S = 0.25
"""Signals so close to the first are the same: ``timeout`` sends one to us, one to our group."""


class Interrupts:
    """Hears the signals while the program runs.

    Attributes
    ----------
    received
        The first one that came; None while none has.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._at = 0.0
        self._before = {
            number: handler
            for number in _SIGNALS
            if (handler := signal.getsignal(number)) is not signal.SIG_IGN  # of a background job
        }

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._before:
                signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back; after one has come they still end a program that goes on."""
        if self.received is None and threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as a shell says it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.received or signal.SIGINT)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is None:
            self.received, self._at = signal.Signals(number), time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - self._at > _ONE_S:
            os._exit(128 + number)
