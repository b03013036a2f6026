"""How a training ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["TrainReport"]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a training run ended."""

    model: str
    """URL of the model."""
    n_cells: int
    stopped_because: str
    history: tuple[dict[str, Any], ...]
    """One record per epoch, as in ``metrics.jsonl``."""
    final_solve: dict[str, Any] | None = None
    """What the model is after its cells were solved at the end: ``loss``, ``n_converged`` and
    ``seconds`` of the solve, and the auROCs of an epoch's record."""
    notices: tuple[str, ...] = ()
    """What a person should know of the run, in sentences."""

    def __repr__(self) -> str:
        done = f"{len(self.history)} epochs, {self.stopped_because}"
        return f"TrainReport({self.model!r}: {self.n_cells} cells, {done})"

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "model": self.model,
            "n_cells": self.n_cells,
            "stopped_because": self.stopped_because,
            "last_epoch": self.history[-1] if self.history else {},
            "final_solve": self.final_solve,
            "notices": list(self.notices),
        }
