"""A training run as one frozen, complete configuration; its defaults are the paper's recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from atlasbasset.core.config import TrunkConfig
from atlasstore.errors import UserInputError

__all__ = ["TrainConfig"]

Compute = Literal["auto", "bf16", "fp32"]

# What may differ between the run that began a model and the one that goes on with it.
_MAY_CHANGE = ("epochs", "patience", "checkpoint_s", "compute")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides a training run (method: "Cell layer and loss").

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
    compute: Compute = "auto"
    """Arithmetic of the convolutions: bf16, fp32, or auto (bf16 where the hardware has it)."""
    checkpoint_s: float = 600.0
    """Seconds between checkpoints within an epoch; every epoch ends with one."""
    n_auroc_peaks: int = 1000
    """Training peaks, a fixed seeded sample, on which the training auROC is measured."""
    n_auroc_cells: int = 20_000
    """Cells, evenly spaced, on which the validation auROC per peak is measured."""
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
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise UserInputError(f"{name} must be above 0, got {getattr(self, name)}.")
        for name in ("l2_cells", "l2_batch", "max_shift_bp", "checkpoint_s", "seed"):
            if getattr(self, name) < 0:
                raise UserInputError(f"{name} must be 0 or more, got {getattr(self, name)}.")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserInputError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        if self.compute not in get_args(Compute):
            allowed = ", ".join(get_args(Compute))
            raise UserInputError(f"compute must be one of {allowed}, got {self.compute!r}.")

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
        values = dict(values)
        if "trunk" in values:
            trunk = dict(values["trunk"])
            trunk["tower_filters"] = tuple(trunk["tower_filters"])
            values["trunk"] = TrunkConfig(**trunk)
        return cls(**values)

    def check_continues(self, earlier: TrainConfig, url: str) -> None:
        """Raise UserInputError unless this run may go on with a model that `earlier` began."""
        differing = [
            f.name
            for f in fields(self)
            if f.name not in _MAY_CHANGE and getattr(self, f.name) != getattr(earlier, f.name)
        ]
        if differing:
            listed = "; ".join(
                f"{n} is {getattr(self, n)!r}, was {getattr(earlier, n)!r}" for n in differing
            )
            raise UserInputError(
                f"{url} was begun with other settings ({listed}); give the same settings to go on "
                "with it, or another --out."
            )
