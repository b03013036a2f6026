"""The position of a run: plain JSON values, stored with every checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.engine.config import TrainConfig

__all__ = ["RunState", "final_solve_of"]

_FORMER = {"polished": "final_solve", "n_polished": "n_ended"}
"""Former names of values, in models that have them."""


@dataclass(slots=True)
class RunState:
    """Position and record of a training run; the same on every worker."""

    epoch: int = 0
    """Epochs finished."""
    step: int = 0
    """Steps finished in the epoch under way."""
    total_steps: int = 0
    """Steps finished in all."""
    bce_sum: float = 0.0
    """Summed cross-entropy of the epoch under way, over all workers."""
    penalty_sum: float = 0.0
    """Summed L2 penalties of the epoch under way."""
    seconds: float = 0.0
    """Spent on the steps of the epoch under way."""
    seconds_waiting: float = 0.0
    """Of those, spent waiting for batches."""
    best_auroc: float = float("-inf")
    """Highest training auROC so far."""
    best_epoch: int = 0
    """Epoch of the last rise of `best_auroc`."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One record per finished epoch."""
    notices: list[str] = field(default_factory=list)
    """What a person should know of the run, in sentences."""
    divided: bool = False
    """Whether batches were separated from cells since the last step, as the end of the run."""
    n_ended: int = 0
    """How often the run has ended with a solve or such: epochs may be added afterwards."""
    n_again: int = 0
    """How often a step that had a checkpoint got another one: never is one written over."""
    final_solve: dict[str, Any] | None = None
    """What was measured after the last solve, where the run ends with one."""

    @property
    def checkpoint(self) -> int:
        """Number of the checkpoint of this state: rises with every step and every last solve."""
        return self.total_steps + self.n_ended + self.n_again

    def as_json(self) -> dict[str, Any]:
        """Return JSON values (the start of `best_auroc`, minus infinity, as None)."""
        values = asdict(self)
        values["best_auroc"] = self.best_auroc if self.best_epoch else None
        values["history"] = [_nan_to_null(record) for record in self.history]
        values["final_solve"] = None if self.final_solve is None else _nan_to_null(self.final_solve)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunState:
        """Return the state `as_json` wrote."""
        values = {_FORMER.get(name, name): value for name, value in values.items()}
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        if known.get("best_auroc") is None:
            known["best_auroc"] = float("-inf")
        known["history"] = [_null_to_nan(record) for record in known.get("history", [])]
        if known.get("final_solve") is not None:
            known["final_solve"] = _null_to_nan(known["final_solve"])
        return cls(**known)

    def end_epoch(self, record: dict[str, Any], config: TrainConfig) -> None:
        """Append the epoch's record and move on to the next."""
        self.epoch += 1
        self.history.append(record)
        if record["train_auroc"] >= self.best_auroc + config.min_rise:
            self.best_auroc, self.best_epoch = record["train_auroc"], self.epoch
        self.step, self.bce_sum, self.penalty_sum = 0, 0.0, 0.0
        self.seconds, self.seconds_waiting = 0.0, 0.0

    def stop_reason(self, config: TrainConfig) -> str | None:
        """Return why training is over, or None."""
        if self.epoch >= config.epochs:
            return f"all {config.epochs} epochs are done"
        if self.epoch - self.best_epoch >= config.patience:
            return f"training auROC has not risen in {config.patience} epochs"
        return None

    def end_reason(self, config: TrainConfig) -> str | None:
        """Return why nothing is left to do; None where epochs or the last solve are."""
        unsolved = config.final_solve and self.final_solve is None
        return None if unsolved else self.stop_reason(config)


def final_solve_of(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a stored state says of the solve that ended the run, as stored."""
    found: Mapping[str, Any] | None = state.get("final_solve", state.get("polished"))
    return found


def _nan_to_null(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values: a measure of nothing is NaN in Python, null in JSON."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in record.items()}


def _null_to_nan(record: Mapping[str, Any]) -> dict[str, Any]:
    return {k: math.nan if v is None else v for k, v in record.items()}
