"""``atlasbasset train``: a model from an atlas; the same command goes on where it stopped."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from atlasjobs.options import Config, Debug, DryRun, Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset import TrainConfig

__all__ = ["train"]

_WORKERS, _RECIPE, _REPORT = "Workers", "Recipe (defaults: the paper's)", "Records"

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of an atlas.")]
Out = Annotated[
    str,
    typer.Option("--out", metavar="MODEL", help="Path or URL of the model, made or gone on with."),
]
Workers = Annotated[
    int, typer.Option(help="Worker processes; at most the cell blocks.", rich_help_panel=_WORKERS)
]
GpusPerWorker = Annotated[
    float, typer.Option(help="GPUs of a Ray worker.", rich_help_panel=_WORKERS)
]
CpusPerWorker = Annotated[
    float, typer.Option(help="CPU cores of a Ray worker.", rich_help_panel=_WORKERS)
]
Launcher = Annotated[
    Literal["auto", "process", "ray"],
    typer.Option(
        help="process: on this machine; ray: a Ray cluster; auto: ray for more than one worker.",
        rich_help_panel=_WORKERS,
    ),
]
Epochs = Annotated[int, typer.Option(help="Epochs at most.", rich_help_panel=_RECIPE)]
BatchSize = Annotated[
    int, typer.Option(help="Peaks in a step, over all workers.", rich_help_panel=_RECIPE)
]
LearningRate = Annotated[float, typer.Option(help="Adam's step size.", rich_help_panel=_RECIPE)]
Beta1 = Annotated[
    float, typer.Option("--beta1", help="Adam's first decay, [0, 1).", rich_help_panel=_RECIPE)
]
Beta2 = Annotated[
    float, typer.Option("--beta2", help="Adam's second decay, [0, 1).", rich_help_panel=_RECIPE)
]
Patience = Annotated[
    int,
    typer.Option(
        help="Stop when training auROC has not risen in this many epochs.", rich_help_panel=_RECIPE
    ),
]
MinRise = Annotated[
    float, typer.Option(help="Smallest rise of auROC that counts.", rich_help_panel=_RECIPE)
]
MaxShiftBp = Annotated[
    int, typer.Option(help="Largest random shift of a window, bp.", rich_help_panel=_RECIPE)
]
ReverseComplement = Annotated[
    bool,
    typer.Option(
        " /--no-reverse-complement",
        help="Never reverse-complement a sequence; half are otherwise.",
        rich_help_panel=_RECIPE,
        show_default=False,
    ),
]
L2Cells = Annotated[
    float,
    typer.Option(
        "--l2-cells",
        help="lambda1: weight of the squared cell embeddings.",
        rich_help_panel=_RECIPE,
    ),
]
L2Batch = Annotated[
    float,
    typer.Option(
        "--l2-batch",
        help="lambda2: weight of the squared batch embeddings.",
        rich_help_panel=_RECIPE,
    ),
]
BatchKey = Annotated[
    str | None,
    typer.Option(
        help="Column of obs with each cell's batch, to correct for it.", rich_help_panel=_RECIPE
    ),
]
Compute = Annotated[
    Literal["auto", "bf16", "fp32"],
    typer.Option(
        help="Arithmetic of the convolutions; auto: bf16 where the hardware has it.",
        rich_help_panel=_RECIPE,
    ),
]
Seed = Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=_RECIPE)]
CheckpointS = Annotated[
    float,
    typer.Option(
        help="Seconds between checkpoints within an epoch; every epoch ends with one.",
        rich_help_panel=_REPORT,
    ),
]
NAurocPeaks = Annotated[
    int, typer.Option(help="Training peaks that the auROC is taken on.", rich_help_panel=_REPORT)
]
NAurocCells = Annotated[
    int,
    typer.Option(
        help="Cells at most that the auROC per peak is taken on.", rich_help_panel=_REPORT
    ),
]


def train(
    ctx: typer.Context,
    atlas: Atlas,
    *,
    out: Out,
    workers: Workers = 1,
    launcher: Launcher = "auto",
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    epochs: Epochs = 1000,
    batch_size: BatchSize = 128,
    learning_rate: LearningRate = 0.01,
    beta1: Beta1 = 0.95,
    beta2: Beta2 = 0.9995,
    patience: Patience = 50,
    min_rise: MinRise = 1e-6,
    max_shift_bp: MaxShiftBp = 3,
    reverse_complement: ReverseComplement = True,
    l2_cells: L2Cells = 0.0,
    l2_batch: L2Batch = 0.0,
    batch_key: BatchKey = None,
    compute: Compute = "auto",
    checkpoint_s: CheckpointS = 600.0,
    n_auroc_peaks: NAurocPeaks = 1000,
    n_auroc_cells: NAurocCells = 20_000,
    seed: Seed = 0,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Train scBasset on an atlas; run it again to go on where it stopped."""
    from atlasjobs.console import Output
    from atlasjobs.facts import training_facts
    from atlasjobs.plans import training_plan

    output = Output(json)
    recipe = _recipe(ctx.params)
    if dry_run:
        output.plan(training_plan(atlas, out, recipe, workers=workers))
        return
    from atlasbasset import train as work

    with output.watching(epochs=epochs) as on_event:
        report = work(
            atlas,
            out=out,
            config=recipe,
            workers=workers,
            launcher=launcher,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            on_event=on_event,
        )
    output.report(f"Trained {out}", training_facts(report), report)


def _recipe(params: "Mapping[str, Any]") -> "TrainConfig":
    """Gather the options that are settings of the recipe; the trunk's window is the atlas's."""
    from atlasbasset import TrainConfig

    names = [field.name for field in fields(TrainConfig) if field.name in params]
    return TrainConfig(**{name: params[name] for name in names})
