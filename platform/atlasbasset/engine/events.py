"""Events of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CellsSolved", "EpochEnd", "StepDone", "TrainingEnd", "TrainingStart"]


@dataclass(frozen=True, slots=True)
class TrainingStart:
    """A run starts or resumes."""

    n_peaks: int
    """Training peaks."""
    n_cells: int
    """Cells over all workers."""
    workers: int
    compute: str
    """Arithmetic of the convolutions."""
    device: str
    epochs_done: int
    """Epochs that an earlier run finished."""
    epochs: int
    """Epochs at most."""
    cells_per_step: int | None = None
    """Cells sampled per step, about; None for all."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """One step of the epoch under way."""

    epoch: int
    """Counted from 1."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps of an epoch."""
    sequences_per_s: float
    """Over this epoch so far."""


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch is finished; its checkpoint is being written."""

    record: Mapping[str, Any]
    """The epoch's line of ``metrics.jsonl``."""


@dataclass(frozen=True, slots=True)
class CellsSolved:
    """The cell layer was solved exactly, for good or between epochs."""

    record: Mapping[str, Any]
    """Loss, cells that converged, seconds; at the end auROC as well."""


@dataclass(frozen=True, slots=True)
class TrainingEnd:
    """Training is over."""

    reason: str
    epochs: int
    """Epochs done in all."""
