"""A training run as one frozen, complete configuration; its defaults are the fast recipe.

Other recipes (`TrainConfig.recipe`) are the same settings with other values. Each setting is
declared once, at its field: documentation, checks and the command line's options follow from there
(`atlasbasset.engine.settings`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from atlasbasset.core.compute import (  # noqa: TC001 - read when settings are declared
    Compute,
    ConvolutionChoice,
)
from atlasbasset.core.config import TrunkConfig
from atlasbasset.engine.settings import Setting, check_settings, documented
from atlasstore.errors import UserInputError
from atlasstore.redaction import shown_values

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RECIPES", "TrainConfig"]

CellStart = Literal["random", "svd", "solve"]
Schedule = Literal["constant", "cosine"]
Recipe = Literal["fast", "paper"]
BatchEffect = Literal["given_state", "free"]

_RECIPE, _CELLS, _TRANSFER = "Recipe", "Cell layer", "Starting from another model's trunk"
_BATCHES, _RECORDS = "Batch correction", "Records"

# What may differ between the run that started a model and the one that resumes it.
_MAY_CHANGE = ("patience", "checkpoint_s", "compute", "convolution", "compile_trunk")

_BEFORE_THEY_WERE = {
    "batch_effect": "free",
    "peak_deviations": False,
    "convolution": "direct",
}
"""Values of settings in models that were begun before there were these settings."""
_EPOCHS, _MOST_EPOCHS, _STEPS = 8, 32, 600
"""Epochs of an atlas of many peaks, and at most where they are few; steps from which on more bring
little (docs/recipes.md, "How many epochs")."""
_FORMER = {"polish": "final_solve"}
"""Former names of settings, in models that have them."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run (docs/method.md, "Cell layer and loss").

    The defaults are the fast recipe, that of `train` and of ``atlasbasset train``;
    ``TrainConfig.recipe("paper")`` has the released model's settings.

    Examples
    --------
    >>> TrainConfig() == TrainConfig.recipe("fast")
    True
    >>> TrainConfig.recipe("paper", epochs=200).schedule
    'constant'
    """

    epochs: Annotated[
        int,
        Setting(
            "Epochs at most. 0: 8, or where peaks are few as many as make 600 steps, up to 32.",
            _RECIPE,
            least=0,
        ),
    ] = 0
    batch_size: Annotated[
        int, Setting("Peaks in a step at most, over all workers.", _RECIPE, above=0)
    ] = 128
    learning_rate: Annotated[float, Setting("Adam's step size.", _RECIPE, above=0)] = 0.01
    schedule: Annotated[
        Schedule,
        Setting("Of the step size: constant, or falling to 0 as a cosine.", _RECIPE),
    ] = "cosine"
    beta1: Annotated[
        float, Setting("Adam's decay of the first moment.", _RECIPE, least=0, below=1)
    ] = 0.95
    beta2: Annotated[
        float, Setting("Adam's decay of the second moment.", _RECIPE, least=0, below=1)
    ] = 0.9995
    average: Annotated[
        float,
        Setting(
            "Decay per step, 0 for none, of a running average of the trunk's weights, which the "
            "finished model has; needs final_solve, as the cells are solved on it.",
            _RECIPE,
            least=0,
            below=1,
        ),
    ] = 0.0
    patience: Annotated[
        int,
        Setting(
            "Stop when the best training auROC has not risen by min_rise in this many epochs.",
            _RECIPE,
            above=0,
        ),
    ] = 50
    min_rise: Annotated[
        float, Setting("Smallest rise of the training auROC that counts.", _RECIPE, least=0)
    ] = 1e-6
    max_shift_bp: Annotated[
        int,
        Setting(
            "Largest random shift of a window, bp; at most the atlas's flank.", _RECIPE, least=0
        ),
    ] = 3
    reverse_complement: Annotated[
        bool,
        Setting("Whether half of the sequences are reverse-complemented at random.", _RECIPE),
    ] = True
    compute: Annotated[
        Compute,
        Setting("Arithmetic of the convolutions; auto: bf16 where the hardware has it.", _RECIPE),
    ] = "auto"
    convolution: Annotated[
        ConvolutionChoice,
        Setting(
            "How float32 convolutions on CPU are computed: direct, minimal (fewer "
            "multiplications), or auto, what is faster on this machine; a run keeps what it began "
            "with.",
            _RECIPE,
        ),
    ] = "auto"
    compile_trunk: Annotated[
        bool,
        Setting("Whether to run the trunk through torch.compile, for GPUs.", _RECIPE),
    ] = False
    seed: Annotated[int, Setting("Of every random choice.", _RECIPE, least=0)] = 0

    cell_start: Annotated[
        CellStart,
        Setting(
            "How cells start: random (He-normal), from the labels' truncated SVD, or solved "
            "exactly on the initial trunk (what a recipe does with init_from).",
            _CELLS,
        ),
    ] = "svd"
    cells_per_step: Annotated[
        int, Setting("Cells sampled per step, about; 0: all.", _CELLS, least=0)
    ] = 0
    solve_every: Annotated[
        int, Setting("Solve the cells exactly after every so many epochs; 0: no.", _CELLS, least=0)
    ] = 0
    final_solve: Annotated[
        bool, Setting("Whether to solve the cells exactly at the end.", _CELLS)
    ] = True
    solve_l2: Annotated[
        float,
        Setting(
            "In solves, the weight of |w|^2 / 2 of a cell, relative to its summed cross-entropy.",
            _CELLS,
            above=0,
        ),
    ] = 10.0
    peak_deviations: Annotated[
        bool,
        Setting(
            "Whether training peaks may deviate from their sequences at the end, solved exactly in "
            "turn with the cells, where that helps; goes with final_solve.",
            _CELLS,
        ),
    ] = True
    peak_l2: Annotated[
        float,
        Setting(
            "Weight of |x|^2 / 2 of a peak's embedding and of |d|^2 / 2 of its deviation, relative "
            "to its summed cross-entropy; 0: what holds back the labels' noise, with three times "
            "solve_l2 for cells, if neighbours then predict peaks not seen better than without "
            "deviations.",
            _CELLS,
            least=0,
        ),
    ] = 0.0
    peak_rounds: Annotated[
        int, Setting("Solves of all peaks and then all cells in turn.", _CELLS, above=0)
    ] = 4
    per_cell_eps: Annotated[
        bool,
        Setting(
            "Whether Adam's epsilon (1e-7) is compared with a cell's own gradient, however many "
            "cells, rather than with that gradient divided by N, as in the released code.",
            _CELLS,
        ),
    ] = True

    init_from: Annotated[
        str | None,
        Setting(
            "Path or URL of a model whose trunk to start from; its cells are not used.",
            _TRANSFER,
            metavar="MODEL",
        ),
    ] = None
    freeze_epochs: Annotated[
        int,
        Setting("Epochs at the start in which the trunk is not trained.", _TRANSFER, least=0),
    ] = 0

    batch_key: Annotated[
        str | None, Setting("Column of obs with each cell's batch, to correct for it.", _BATCHES)
    ] = None
    batch_effect: Annotated[
        BatchEffect,
        Setting(
            "What is taken for a batch's effect: how its cells differ from others in the same "
            "state, or (free, as the paper) from others in the mean, composition included.",
            _BATCHES,
        ),
    ] = "given_state"
    l2_cells: Annotated[
        float, Setting("lambda1: weight of the squared cell embeddings.", _BATCHES, least=0)
    ] = 0.0
    l2_batch: Annotated[
        float, Setting("lambda2: weight of the squared batch embeddings.", _BATCHES, least=0)
    ] = 0.0

    checkpoint_s: Annotated[
        float,
        Setting(
            "Seconds between checkpoints within an epoch; every epoch ends with one.",
            _RECORDS,
            least=0,
        ),
    ] = 600.0
    n_auroc_peaks: Annotated[
        int,
        Setting(
            "Peaks of a split at most, a fixed sample, that auROC is measured on.",
            _RECORDS,
            above=0,
        ),
    ] = 1000
    n_auroc_cells: Annotated[
        int, Setting("Cells at most, evenly spaced, that auROC is measured on.", _RECORDS, above=0)
    ] = 20_000

    group_peaks: Annotated[
        int,
        Setting(
            "Peaks whose labels are in memory together when labels are streamed: their order is "
            "shuffled within such a group. 0: chosen by the memory there is.",
            least=0,
        ),
    ] = 0
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    """The trunk's architecture."""

    def __post_init__(self) -> None:
        check_settings(self)
        if self.average and not self.final_solve:
            raise UserInputError(
                "average needs final_solve: the cells must be solved on the averaged trunk."
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

    def with_epochs(self, n_train_peaks: int) -> TrainConfig:
        """Return it with a number of epochs, where that is left to the atlas's size."""
        if self.epochs:
            return self
        return replace(self, epochs=max(_EPOCHS, self.fewest_epochs(n_train_peaks)))

    def fewest_epochs(self, n_train_peaks: int) -> int:
        """Return how many a new trunk should have at least; 0: any, as it has been trained."""
        if self.init_from is not None:
            return 0
        return min(math.ceil(_STEPS / math.ceil(n_train_peaks / self.batch_size)), _MOST_EPOCHS)

    def as_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        values = asdict(self)
        values["trunk"]["tower_filters"] = list(self.trunk.tower_filters)
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainConfig:
        """Return the configuration `as_json` wrote; an unknown key is an error."""
        known = {f.name for f in fields(cls)}
        values = {_FORMER.get(name, name): value for name, value in values.items()}
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
    "fast": {},
    "paper": {
        "epochs": 1000,
        "schedule": "constant",
        "cell_start": "random",
        "final_solve": False,
        "peak_deviations": False,
        "per_cell_eps": False,
    },
}
"""What a recipe changes of the defaults (docs/recipes.md has the comparison)."""
