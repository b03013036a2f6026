"""Events of an actor of a batch job, for its node's log; the driver counts what is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BatchBegin", "BatchEnd", "BatchError"]


@dataclass(frozen=True, slots=True)
class BatchBegin:
    """An actor begins a batch of units."""

    stage: str
    """As `Progress.stage`; "" where the work does not say."""
    units: Mapping[str, int]
    """Which of those that were left to do as the stage began: [start, stop)."""


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """Its units are done, and their receipts written."""

    stage: str
    units: Mapping[str, int]
    seconds: float
    n_bytes: int
    """Written, before compression."""


@dataclass(frozen=True, slots=True)
class BatchError:
    """It ended early; units before the one that failed are kept."""

    stage: str
    units: Mapping[str, int]
    error: str
    """Class and message."""
    traceback: str
