"""What things took: time of training and of this report, and memory."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlasstore.events import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlasstore.events import Subscriber

__all__ = ["Stopwatch", "peak_memory_bytes"]


@dataclass(slots=True)
class Stopwatch:
    """Seconds of each part of the report, in the order they were made."""

    on_event: Subscriber
    """Called with a `Progress` after each part."""
    n_parts: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done inside as `name`."""
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began
        self.on_event(Progress("gathering the report", len(self.seconds), self.n_parts, "parts"))


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
