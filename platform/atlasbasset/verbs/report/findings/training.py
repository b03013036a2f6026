"""The course of a training, as its model's record says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.engine.state import final_solve_of
from atlasbasset.verbs.report.findings.missing import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasstore.models.checkpoint import Checkpoint

__all__ = ["Epoch", "Solved", "Training", "training_of"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch; None where a figure was not taken, or was no number."""

    number: int
    loss: float | None
    train_auroc: float | None
    valid_auroc_per_cell: float | None
    valid_auroc_per_peak: float | None
    seconds: float | None
    """Of training."""
    seconds_measuring: float | None
    seconds_waiting: float | None
    """For data."""
    sequences_per_s: float | None
    workers: int | None


@dataclass(frozen=True, slots=True)
class Solved:
    """The exact solution of all cells at the end; figures as of an epoch."""

    seconds: float | None
    loss: float | None
    train_auroc: float | None
    valid_auroc_per_cell: float | None
    valid_auroc_per_peak: float | None


@dataclass(frozen=True, slots=True)
class Training:
    """All epochs, and the solve at the end where there was one."""

    epochs: tuple[Epoch, ...]
    solved: Solved | None
    recipe: Mapping[str, Any]
    """The settings of `train`."""
    explained: float | None = None
    """Share of where peaks lie that sequences explain; None: peaks do not deviate from them."""


def training_of(checkpoint: Checkpoint, config: Mapping[str, Any]) -> Training | Missing:
    """Read the course of a training; a model with imported weights has none."""
    history = checkpoint.state.get("history") or []
    if not history:
        return Missing("The model has no record of a training: its weights were imported.")
    solved = final_solve_of(checkpoint.state)
    return Training(
        tuple(_epoch(record) for record in history),
        None if not solved else Solved(**{name: _number(solved, name) for name in _SOLVED}),
        dict(config.get("train") or {}),
        _explained(solved or {}),
    )


def _explained(solved: Mapping[str, Any]) -> float | None:
    found = solved.get("peak_deviations")
    if not isinstance(found, dict) or found.get("weight") is None:
        return None
    return _number(found, "explained")


_SOLVED = tuple(Solved.__dataclass_fields__)


def _epoch(record: Mapping[str, Any]) -> Epoch:
    names = [name for name in Epoch.__dataclass_fields__ if name not in ("number", "workers")]
    workers = record.get("workers")
    return Epoch(
        number=int(record["epoch"]),
        workers=None if workers is None else int(workers),
        **{name: _number(record, name) for name in names},
    )


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    return float(value) if isinstance(value, int | float) else None
