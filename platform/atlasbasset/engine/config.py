"""A training run as one frozen, complete configuration; its defaults are the paper's recipe.

Other recipes (`TrainConfig.recipe`) are the same settings with other values.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from atlasbasset.core.compute import Compute
from atlasbasset.core.config import TrunkConfig
from atlasstore.errors import UserInputError
from atlasstore.redaction import shown_values

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RECIPES", "TrainConfig"]

CellStart = Literal["random", "svd", "solve"]
Schedule = Literal["constant", "cosine"]
Recipe = Literal["fast", "paper"]
BatchEffect = Literal["given_state", "free"]

# What may differ between the run that started a model and the one that resumes it.
_MAY_CHANGE = ("patience", "checkpoint_s", "compute", "compile_trunk")

_BEFORE_THEY_WERE = {"batch_effect": "free"}
"""Values of settings in models that were begun before there were these settings."""

_CHOICES = {
    "compute": Compute,
    "cell_start": CellStart,
    "schedule": Schedule,
    "batch_effect": BatchEffect,
}
_NOT_NEGATIVE = (
    "l2_cells",
    "l2_batch",
    "min_rise",
    "max_shift_bp",
    "checkpoint_s",
    "seed",
    "cells_per_step",
    "solve_every",
    "freeze_epochs",
    "group_peaks",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run (docs/method.md, "Cell layer and loss").

    The defaults are the paper's recipe.
    """

    epochs: int = 1000
    """Epochs at most; training stops earlier by `patience`."""
    batch_size: int = 128
    """Peaks in a step at most, over all workers; an epoch is cut into steps of equal size."""
    learning_rate: float = 0.01
    """Adam's step size."""
    beta1: float = 0.95
    """Adam's decay of the first moment, [0, 1)."""
    beta2: float = 0.9995
    """Adam's decay of the second moment, [0, 1)."""
    patience: int = 50
    """Stop when the best training auROC has not risen by `min_rise` in this many epochs."""
    min_rise: float = 1e-6
    """Smallest rise of the training auROC that counts."""
    max_shift_bp: int = 3
    """Largest random shift of a window, bp; at most the atlas's flank."""
    reverse_complement: bool = True
    """Whether half of the sequences are reverse-complemented at random."""
    l2_cells: float = 0.0
    """lambda1: weight of the sum of squares of the cell embeddings."""
    l2_batch: float = 0.0
    """lambda2: weight of the sum of squares of the batch embeddings."""
    batch_key: str | None = None
    """Column of obs that names each cell's batch; None for no batch correction."""
    batch_effect: BatchEffect = "given_state"
    """What a batch's row is when cells are placed, solved or finished: its effect given the cells'
    states, or "free", the paper's plain form, its cells' mean (docs/batch-effects.md)."""
    compute: Compute = "auto"
    """Arithmetic of the convolutions: bf16, fp32, or auto (bf16 where the hardware has it)."""
    compile_trunk: bool = False
    """Whether to run the trunk through `torch.compile`: for GPUs, tried on none so far."""
    checkpoint_s: float = 600.0
    """Seconds between checkpoints within an epoch; every epoch ends with one."""
    n_auroc_peaks: int = 1000
    """Peaks of a split at most, a fixed seeded sample, on which an epoch's auROC is measured."""
    n_auroc_cells: int = 20_000
    """Cells at most, evenly spaced, on which an epoch's auROC is measured."""
    cells_per_step: int = 0
    """Cells sampled per step, about; 0 for all. See `atlasbasset.engine.cell_sampling`."""
    cell_start: CellStart = "random"
    """The cell layer's start: He-normal, the labels' truncated SVD, or solved on the first trunk
    (sensible with `init_from`)."""
    schedule: Schedule = "constant"
    """Of the learning rate over all epochs: constant, or a cosine from it to 0."""
    average: float = 0.0
    """Decay of the running average of the trunk's weights per step, [0, 1); 0 for none. The
    finished model has the average; its cells are solved on it, so `polish` must be on."""
    solve_every: int = 0
    """Solve the cell layer exactly after every so many epochs; 0 for never."""
    polish: bool = False
    """Whether to solve the cell layer exactly at the end."""
    solve_l2: float = 10.0
    """Weight of ``|w|^2 / 2`` relative to the cross-entropy summed over peaks, in solves."""
    per_cell_eps: bool = False
    """Whether Adam's epsilon (1e-7) is compared with a cell's own gradient rather than with that
    gradient divided by N, as in the released code: at a million cells those are 5e-8."""
    init_from: str | None = None
    """URL of a model whose trunk to start from; None for He-normal."""
    freeze_epochs: int = 0
    """Epochs at the start in which the trunk is not trained."""
    group_peaks: int = 0
    """Peaks whose labels are in memory together when labels are streamed: their order is shuffled
    within such a group, and groups are random ranges of peaks. 0: all labels in memory."""
    seed: int = 0
    """Of every random choice."""
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    """The trunk's architecture."""

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "batch_size",
            "learning_rate",
            "patience",
            "n_auroc_peaks",
            "n_auroc_cells",
            "solve_l2",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise UserInputError(f"{name} must be above 0, got {getattr(self, name)}.")
        for name, value in asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UserInputError(f"{name} must be a finite number, got {value}.")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise UserInputError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        for name in ("beta1", "beta2", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise UserInputError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                allowed = ", ".join(get_args(kind))
                raise UserInputError(
                    f"{name} must be one of {allowed}, got {getattr(self, name)!r}."
                )
        if self.average and not self.polish:
            raise UserInputError(
                "average needs polish: the cells must be solved on the averaged trunk."
            )

    @classmethod
    def recipe(cls, name: str, **changes: Any) -> TrainConfig:
        """Return a named recipe with some settings changed.

        With `init_from` cells begin solved on that trunk, unless `cell_start` says otherwise.

        Raises
        ------
        UserInputError
            There is no such recipe, or a value is out of bounds.
        """
        if name not in RECIPES:
            raise UserInputError(f"recipe must be one of {', '.join(RECIPES)}, got {name!r}.")
        solved = {"cell_start": "solve"} if changes.get("init_from") is not None else {}
        return cls(**{**RECIPES[name], **solved, **changes})

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        values = asdict(self)
        values["trunk"]["tower_filters"] = list(self.trunk.tower_filters)
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """Return the configuration `as_json` wrote; an unknown key is an error."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserInputError(
                f"unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}."
            )
        values = {**_BEFORE_THEY_WERE, **values}
        if "trunk" in values:
            trunk = dict(values["trunk"])
            trunk["tower_filters"] = tuple(trunk["tower_filters"])
            values["trunk"] = TrunkConfig(**trunk)
        return cls(**values)

    def check_continues(self, earlier: TrainConfig, url: str) -> None:
        """Raise UserInputError unless this run may resume a model that `earlier` began."""
        free = (*_MAY_CHANGE, "epochs") if self.schedule == "constant" else _MAY_CHANGE
        differing = [
            f.name
            for f in fields(self)
            if f.name not in free
            and shown_values(getattr(self, f.name)) != shown_values(getattr(earlier, f.name))
        ]
        if differing:
            listed = "; ".join(
                f"{n} is {getattr(self, n)!r}, was {getattr(earlier, n)!r}" for n in differing
            )
            raise UserInputError(
                f"{url} was started with other settings ({listed}); give the same settings to "
                "resume it, or another --out."
            )


RECIPES: Mapping[str, Mapping[str, Any]] = {
    "fast": {
        "epochs": 8,
        "schedule": "cosine",
        "cell_start": "svd",
        "polish": True,
        "per_cell_eps": True,
    },
    "paper": {},
}
"""What a recipe changes of the paper's settings (docs/recipes.md has the comparison)."""
