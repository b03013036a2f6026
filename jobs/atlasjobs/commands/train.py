"""``atlasbasset train``: a model from an atlas; the same command resumes it."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from atlasjobs.options import recipe as r
from atlasjobs.options.common import Config, Debug, DryRun, Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset import TrainConfig

__all__ = ["train"]

_WORKERS = "Workers"

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of an atlas.")]
Out = Annotated[
    str,
    typer.Option("--out", metavar="MODEL", help="Path or URL of the model to write, or to resume."),
]
Workers = Annotated[
    int, typer.Option(help="Worker processes; at most the cell blocks.", rich_help_panel=_WORKERS)
]
MinWorkers = Annotated[
    int | None,
    typer.Option(
        help="Continue with as few as this many when nodes are lost (ray).",
        rich_help_panel=_WORKERS,
        show_default="--workers",
    ),
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
Memory = Annotated[
    str | None,
    typer.Option(
        help="What each worker may take, such as 8GB.",
        metavar="SIZE",
        rich_help_panel=_WORKERS,
        show_default="what the machine has",
    ),
]


def train(
    ctx: typer.Context,
    atlas: Atlas,
    *,
    out: Out,
    recipe: r.Recipe = "fast",
    workers: Workers = 1,
    min_workers: MinWorkers = None,
    launcher: Launcher = "auto",
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    memory: Memory = None,
    epochs: r.Epochs = None,
    batch_size: r.BatchSize = None,
    learning_rate: r.LearningRate = None,
    schedule: r.Schedule = None,
    beta1: r.Beta1 = None,
    beta2: r.Beta2 = None,
    average: r.Average = None,
    patience: r.Patience = None,
    min_rise: r.MinRise = None,
    max_shift_bp: r.MaxShiftBp = None,
    reverse_complement: r.ReverseComplement = None,
    compute: r.Compute = None,
    compile_trunk: r.CompileTrunk = None,
    seed: r.Seed = None,
    cell_start: r.CellStart = None,
    cells_per_step: r.CellsPerStep = None,
    solve_every: r.SolveEvery = None,
    polish: r.Polish = None,
    solve_l2: r.SolveL2 = None,
    per_cell_eps: r.PerCellEps = None,
    init_from: r.InitFrom = None,
    freeze_epochs: r.FreezeEpochs = None,
    batch_key: r.BatchKey = None,
    batch_effect: r.BatchEffect = None,
    l2_cells: r.L2Cells = None,
    l2_batch: r.L2Batch = None,
    checkpoint_s: r.CheckpointS = None,
    n_auroc_peaks: r.NAurocPeaks = None,
    n_auroc_cells: r.NAurocCells = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Train scBasset on an atlas; run it again to resume."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.train import training_facts, training_plan

    output = Output(json)
    settings = _settings(recipe, ctx.params)
    if dry_run:
        plan = training_plan(
            atlas,
            out,
            settings,
            workers=workers,
            min_workers=min_workers,
            memory=memory,
            launcher=launcher,
            gpus_per_worker=gpus_per_worker,
        )
        output.plan(plan)
        return
    from atlasbasset import train as work

    with output.watching(epochs=settings.epochs) as on_event:
        report = work(
            atlas,
            out=out,
            config=settings,
            workers=workers,
            min_workers=min_workers,
            launcher=launcher,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            memory=memory,
            on_event=on_event,
        )
    output.report(f"Trained {out}", training_facts(report), report)


def _settings(recipe: str, params: "Mapping[str, Any]") -> "TrainConfig":
    """Return the recipe with the options that were given; the trunk's window is the atlas's."""
    from atlasbasset import TrainConfig

    names = [field.name for field in fields(TrainConfig)]
    given = {name: params[name] for name in names if params.get(name) is not None}
    return TrainConfig.recipe(recipe, **given)
