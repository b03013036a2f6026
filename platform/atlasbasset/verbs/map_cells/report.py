"""What `map` has solved, and how well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.verbs.map_cells.labels import MappedLabels

__all__ = ["MapReport"]


@dataclass(frozen=True, eq=False, slots=True)
class MapReport:
    """What was solved, and how well."""

    model: str
    """URL of the new model."""
    n_peaks: int
    """Peaks that were fitted."""
    n_peaks_solved: int
    """Of these, those that were solved, too."""
    l2: float
    """Weight of half the sum of squares of a cell's embedding."""
    loss: float
    """Mean cross-entropy and penalty, nats per fitted peak and cell."""
    seconds_embedding: float
    """Spent on the peaks' embeddings."""
    seconds_solving: float
    """Spent on reading labels and solving."""
    iterations: NDArray[np.int32]
    """Newton steps of each cell, (N,)."""
    gradient_norm: NDArray[np.float32]
    """Norm of each cell's gradient at the end, (N,)."""
    converged: NDArray[np.bool_]
    """Whether each cell converged, (N,): gradient at most 1e-5 per open peak."""
    one_class: NDArray[np.bool_]
    """Cells with none or all of the fitted peaks open, (N,)."""
    was_finished: bool
    """Whether the very same job had made the model before, so that nothing was done."""
    labels: MappedLabels | None = None
    """The cells' labels, where the model's were named."""

    def __repr__(self) -> str:
        n_cells, n_converged = len(self.converged), int(self.converged.sum())
        return f"MapReport({self.model!r}: {n_cells} cells, {n_converged} converged)"

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: counts and means, no arrays."""
        return {
            "model": self.model,
            "n_cells": len(self.iterations),
            "n_converged": int(self.converged.sum()),
            "n_one_class": int(self.one_class.sum()),
            "n_peaks": self.n_peaks,
            "n_peaks_solved": self.n_peaks_solved,
            "l2": self.l2,
            "loss": self.loss,
            "mean_iterations": float(self.iterations.mean()),
            "max_iterations": int(self.iterations.max()),
            "seconds_embedding": self.seconds_embedding,
            "seconds_solving": self.seconds_solving,
            "was_finished": self.was_finished,
            "labels": None if self.labels is None else self.labels.as_json(),
        }
