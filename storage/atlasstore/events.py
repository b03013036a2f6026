"""Events that running code reports; progress bars, logs and JSON lines subscribe.

Work code takes ``on_event: Subscriber`` and calls it; it never prints and never draws a bar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atlasstore.redaction import legible, shown

__all__ = ["Event", "Notice", "Progress", "Subscriber", "ignore"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A long stage has come this far."""

    stage: str
    """What is being done, in a few words ("reading counts", "writing labels")."""
    done: int
    """Units finished, 0..total."""
    total: int
    """Units in all."""
    unit: str
    """The unit's plural name ("cells", "peaks", "blocks")."""
    n_bytes: int = 0
    """Bytes written so far, before compression; 0 where they are not counted."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence the user should read ("412 of 4,283 peaks were removed by ...")."""

    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", legible(shown(self.message)))


Event = Progress | Notice
Subscriber = Callable[[object], None]
"""Called with every event; `object`, because other packages add events of their own."""


def ignore(_event: object, /) -> None:
    """Drop the event: the default subscriber."""
