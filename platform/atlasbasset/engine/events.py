"""Events of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atlasstore.events import Notice, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "BETWEEN_STEPS",
    "CHOOSING",
    "EMBEDDING",
    "MEASURING",
    "SOLVING",
    "SOLVING_PEAKS",
    "CellsSolved",
    "EpochEnd",
    "EpochStart",
    "PeaksSolved",
    "StepDone",
    "TrainingEnd",
    "TrainingStart",
    "deviations_sentence",
]


EMBEDDING, SOLVING, MEASURING = "embedding all peaks", "solving all cells", "measuring"
SOLVING_PEAKS, CHOOSING = "solving all peaks", "choosing the weight of deviations"
BETWEEN_STEPS = frozenset({EMBEDDING, SOLVING, MEASURING, SOLVING_PEAKS, CHOOSING})
"""Stages of `Progress` that belong to an epoch or a solve, which has an event of its own."""


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
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the run, resolved: those of `TrainConfig`."""


@dataclass(frozen=True, slots=True)
class EpochStart:
    """An epoch begins, or is resumed in its midst."""

    epoch: int
    """Counted from 1."""
    step: int
    """Steps done already."""
    steps: int
    """Steps of an epoch."""

    def shown(self) -> Progress:
        """Return an empty bar."""
        return Progress(f"epoch {self.epoch}", self.step, self.steps, "steps")


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

    def shown(self) -> Progress:
        """Return the epoch's bar."""
        return Progress(f"epoch {self.epoch}", self.step, self.steps, "steps")


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch is finished; its checkpoint is being written."""

    record: Mapping[str, Any]
    """The epoch's line of ``metrics.jsonl``."""

    def shown(self) -> Notice:
        """Return a sentence with the epoch's figures."""
        found = self.record
        return Notice(
            f"epoch {found['epoch']}: loss {found['loss']:.4f}, auROC per cell "
            f"{found['train_auroc']:.3f} on training peaks, {found['valid_auroc_per_cell']:.3f} on "
            "validation peaks"
        )


@dataclass(frozen=True, slots=True)
class CellsSolved:
    """The cell layer was solved exactly, for good or between epochs."""

    record: Mapping[str, Any]
    """Loss, cells that converged, seconds; at the end auROC as well."""


@dataclass(frozen=True, slots=True)
class PeaksSolved:
    """Peaks have deviated from their sequences as far as the labels ask for, or not at all."""

    record: Mapping[str, Any]
    """``l2_cells``, ``weight`` (None: no deviations), ``rounds``; ``tried``, everything that was
    tried with its loss; ``explained``, the share of the variance of the peaks' embeddings that
    sequences explain; ``seconds``; and the last solve of the cells, as in `CellsSolved`."""

    def shown(self) -> Notice:
        """Return a sentence with the choice."""
        return Notice(deviations_sentence(self.record))


def deviations_sentence(record: Mapping[str, Any]) -> str:
    """Say how peaks deviate, or that they do not, and what that was chosen by."""
    losses = [f"{tried['loss']:.5f}" for tried in record["tried"]]
    seen = f": neighbours predict unseen peaks at {losses[-1]} nats with" if losses else ""
    if record["weight"] is not None:
        said = f"Peaks deviate with weight {record['weight']:.4g}, cells have "
        said += f"{record['l2_cells']:g}, {record['rounds']} rounds"
        if "explained" in record:  # not in models of earlier versions
            said += f"; sequences explain {record['explained']:.0%} of where they lie"
        return f"{said}{seen} deviations, {losses[0]} without." if losses else f"{said}."
    if losses:
        said = f"Peaks stay at their sequences{seen} deviations, {losses[0]} without"
        held = record["l2_cells"] != record["tried"][0]["l2_cells"]
        return (
            f"{said}, {losses[1]} with cells held by {record['l2_cells']:g}."
            if held
            else said + "."
        )
    return (
        "Peaks stay at their sequences: deviations need 100 cells and 100 training peaks, and with "
        "batches a weight (peak_l2)."
    )


@dataclass(frozen=True, slots=True)
class TrainingEnd:
    """Training is over."""

    reason: str
    epochs: int
    """Epochs done in all."""

    def shown(self) -> Notice:
        """Return a sentence."""
        return Notice(f"Training ended after epoch {self.epochs}: {self.reason}.")
