"""Once imported, loops are compiled by one process at a time: others load what it has kept.

Processes that begin together would otherwise compile the same loops at the same time, which takes
each of them half a minute where nothing is kept yet.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, Any

from numba.core import event

LOCK = Path(tempfile.gettempdir(), f"atlasbasset-tests-compile-{os.getuid()}")
PATIENCE_S = 60
"""After which a process compiles whoever has the lock: it may be one that a test has stopped."""


class Turns(event.Listener):
    """Holds a lock of all processes while numba holds its own, which is of one process."""

    def __init__(self) -> None:
        self._threads = threading.Lock()
        self._depth = 0
        self._file: IO[str] | None = None

    def on_start(self, event: Any) -> None:
        with self._threads:
            self._depth += 1
            if self._file is None:
                self._file = LOCK.open("w")
                _lock(self._file)

    def on_end(self, event: Any) -> None:
        with self._threads:
            self._depth -= 1
            if not self._depth and self._file is not None:
                self._file.close()
                self._file = None


def _lock(file: IO[str]) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05)
    return None


event.register("numba:compiler_lock", Turns())
