"""Training in lines: one aligned line per epoch, with what is left."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from atlasstore.text_units import count, duration, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.engine.events import TrainingStart

__all__ = ["TrainingLines", "converged"]

_COLUMNS = {
    "epoch": 10,
    "loss": 8,
    "train auROC": 13,
    "valid / cell": 14,
    "valid / peak": 14,
    "seq/s": 7,
    "waiting": 9,
    "memory": 9,
    "time left": 12,
}
"""Name -> letters."""
_RECENT = 5  # epochs that the time left is estimated from


class TrainingLines:
    """Formats a run's epochs.

    Parameters
    ----------
    epochs
        Epochs at most, where known.
    """

    header = "".join(f"{name:>{width}}" for name, width in _COLUMNS.items())

    def __init__(self, epochs: int | None = None) -> None:
        self.epochs = epochs
        self._n_cells: int | None = None
        self._spent_s: list[float] = []

    def start(self, event: TrainingStart) -> str:
        """Take over the run's sizes; return a line that tells them."""
        self.epochs, self._n_cells = event.epochs, event.n_cells
        workers = "1 worker" if event.workers == 1 else f"{event.workers} workers"
        going_on = f", resuming after epoch {event.epochs_done}" if event.epochs_done else ""
        met = event.cells_per_step
        sampled = "" if met is None else f" (about {count(met)} a step)"
        return (
            f"{count(event.n_peaks)} training peaks x {count(event.n_cells)} cells{sampled}, "
            f"{workers}, {event.compute} on {event.device}, at most {event.epochs} epochs{going_on}"
        )

    def epoch(self, record: Mapping[str, Any]) -> str:
        """Return the line of a finished epoch; `record` is its line of ``metrics.jsonl``."""
        self._spent_s.append(float(record["seconds"]) + float(record["seconds_measuring"]))
        number = int(record["epoch"])
        of = "" if self.epochs is None else f"/{self.epochs}"
        cells = (
            f"{number}{of}",
            _figure(record["loss"], 4),
            _figure(record["train_auroc"], 3),
            _figure(record["valid_auroc_per_cell"], 3),
            _figure(record["valid_auroc_per_peak"], 3),
            _figure(record["sequences_per_s"], 0),
            _waiting(record),
            "-" if (held := record.get("memory_bytes")) is None else size(held),
            self._left(number),
        )
        lengths = _COLUMNS.values()
        return "".join(f"{cell:>{width}}" for cell, width in zip(cells, lengths, strict=True))

    def solved(self, record: Mapping[str, Any]) -> str:
        """Return a line on a solve of all cells; `record` is what `CellsSolved` tells."""
        return (
            f"cells solved in {duration(float(record['seconds']))}: "
            f"loss {_figure(record['loss'], 4)}, {converged(record, self._n_cells)}"
        )

    def _left(self, number: int) -> str:
        if self.epochs is None:
            return "-"
        if number >= self.epochs:
            return "done"
        return duration((self.epochs - number) * statistics.median(self._spent_s[-_RECENT:]))


def converged(record: Mapping[str, Any], n_cells: int | None) -> str:
    """Return how many cells a solve has solved, out of `n_cells` where that is known."""
    found = int(record["n_converged"])
    if found == n_cells:
        return "all converged"
    return f"{count(found)}{'' if n_cells is None else f' of {count(n_cells)}'} converged"


def _waiting(record: Mapping[str, Any]) -> str:
    """Return the share of the steps' time in which data were waited for."""
    waited, seconds = record.get("seconds_waiting"), float(record["seconds"])
    return "-" if waited is None or not seconds else f"{100 * float(waited) / seconds:.0f} %"


def _figure(value: object, digits: int) -> str:
    number = float("nan") if value is None else float(value)  # type: ignore[arg-type]
    return "-" if math.isnan(number) else f"{number:.{digits}f}"
