"""``train``'s options that are settings of a recipe: None stands for the recipe's own value.

What the recipes use is added to the help when it is shown (`atlasjobs.options.recipe_help`).
"""

from typing import Annotated, Any, Literal

import typer

__all__ = [
    "Average",
    "BatchEffect",
    "BatchKey",
    "BatchSize",
    "Beta1",
    "Beta2",
    "CellStart",
    "CellsPerStep",
    "CheckpointS",
    "CompileTrunk",
    "Compute",
    "Epochs",
    "FreezeEpochs",
    "InitFrom",
    "L2Batch",
    "L2Cells",
    "LearningRate",
    "MaxShiftBp",
    "MinRise",
    "NAurocCells",
    "NAurocPeaks",
    "Patience",
    "PerCellEps",
    "Polish",
    "Recipe",
    "ReverseComplement",
    "Schedule",
    "Seed",
    "SolveEvery",
    "SolveL2",
]

_RECIPE, _CELLS, _TRANSFER = "Recipe", "Cell layer", "Beginning with another model's trunk"
_BATCHES, _RECORDS = "Batch correction", "Records"


def _setting(said: str, panel: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=said, rich_help_panel=panel, **more)


Recipe = Annotated[
    Literal["fast", "paper"],
    typer.Option(
        help="Settings to start from; options change single ones. paper: as the released model.",
        rich_help_panel=_RECIPE,
    ),
]
Epochs = Annotated[int | None, _setting("Epochs at most.", _RECIPE)]
BatchSize = Annotated[int | None, _setting("Peaks in a step, over all workers.", _RECIPE)]
LearningRate = Annotated[float | None, _setting("Adam's step size.", _RECIPE)]
Schedule = Annotated[
    Literal["constant", "cosine"] | None,
    _setting("Of the step size: constant, or falling to 0 as a cosine.", _RECIPE),
]
Beta1 = Annotated[float | None, _setting("Adam's first decay, [0, 1).", _RECIPE, "--beta1")]
Beta2 = Annotated[float | None, _setting("Adam's second decay, [0, 1).", _RECIPE, "--beta2")]
Average = Annotated[
    float | None,
    _setting(
        "Decay per step of a running average of the trunk, [0, 1), which the finished model has; "
        "needs --polish. 0: none.",
        _RECIPE,
    ),
]
Patience = Annotated[
    int | None,
    _setting("Stop when training auROC has not risen in this many epochs.", _RECIPE),
]
MinRise = Annotated[float | None, _setting("Smallest rise of auROC that counts.", _RECIPE)]
MaxShiftBp = Annotated[int | None, _setting("Largest random shift of a window, bp.", _RECIPE)]
ReverseComplement = Annotated[
    bool | None,
    _setting(
        "Whether half of the sequences are reverse-complemented.",
        _RECIPE,
        " /--no-reverse-complement",
    ),
]
Compute = Annotated[
    Literal["auto", "bf16", "fp32"] | None,
    _setting(
        "Arithmetic of the convolutions; auto: bf16 where the hardware has it.",
        _RECIPE,
    ),
]
CompileTrunk = Annotated[
    bool | None,
    _setting("Whether to run the trunk through torch.compile, for GPUs.", _RECIPE),
]
Seed = Annotated[int | None, _setting("Of every random choice.", _RECIPE)]

CellStart = Annotated[
    Literal["random", "svd", "solve"] | None,
    _setting(
        "How cells start: random, from the labels' SVD, or solved exactly on the initial trunk "
        "(with --init-from: solve).",
        _CELLS,
    ),
]
CellsPerStep = Annotated[int | None, _setting("Cells sampled per step, about; 0: all.", _CELLS)]
SolveEvery = Annotated[
    int | None,
    _setting("Solve the cells exactly after every so many epochs; 0: no.", _CELLS),
]
Polish = Annotated[bool | None, _setting("Whether to solve the cells exactly at the end.", _CELLS)]
SolveL2 = Annotated[
    float | None,
    _setting(
        "In solves, the weight of |w|^2 / 2 of a cell, relative to its summed cross-entropy.",
        _CELLS,
        "--solve-l2",
    ),
]
PerCellEps = Annotated[
    bool | None,
    _setting(
        "Whether Adam's epsilon is held against a cell's own gradient, however many cells.",
        _CELLS,
    ),
]

InitFrom = Annotated[
    str | None,
    _setting(
        "Path or URL of a model whose trunk to start from; its cells are not used.",
        _TRANSFER,
        metavar="MODEL",
    ),
]
FreezeEpochs = Annotated[
    int | None,
    _setting("Epochs at the start in which the trunk stays as it is.", _TRANSFER),
]

BatchKey = Annotated[
    str | None,
    _setting("Column of obs with each cell's batch, to correct for it.", _BATCHES),
]
BatchEffect = Annotated[
    Literal["given_state", "free"] | None,
    _setting(
        "What is taken for a batch's effect: how its cells differ from others in the same state, "
        "or (free, as the paper) from others in the mean, composition included.",
        _BATCHES,
    ),
]
L2Cells = Annotated[
    float | None,
    _setting("lambda1: weight of the squared cell embeddings.", _BATCHES, "--l2-cells"),
]
L2Batch = Annotated[
    float | None,
    _setting("lambda2: weight of the squared batch embeddings.", _BATCHES, "--l2-batch"),
]

CheckpointS = Annotated[
    float | None,
    _setting(
        "Seconds between checkpoints within an epoch; every epoch ends with one.",
        _RECORDS,
    ),
]
NAurocPeaks = Annotated[
    int | None,
    _setting("Peaks of a split at most that auROC is taken on.", _RECORDS),
]
NAurocCells = Annotated[int | None, _setting("Cells at most that auROC is taken on.", _RECORDS)]
