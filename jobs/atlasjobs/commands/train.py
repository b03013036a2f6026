"""``atlasbasset train``: a model from an atlas; the same command resumes it."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, LogTo
from atlasjobs.options.recipe import Recipe, chosen_config

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
    recipe: Recipe = "fast",
    workers: Workers = 1,
    min_workers: MinWorkers = None,
    launcher: Launcher = "auto",
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    memory: Memory = None,
    log_to: LogTo = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Train scBasset on an atlas; run it again to resume."""
    from atlasbasset import plan_train
    from atlasjobs.output.console import Output
    from atlasjobs.reports.train import training_facts

    output = Output(json)
    settings = chosen_config(ctx, recipe)
    plan = plan_train(
        atlas,
        out=out,
        config=settings,
        workers=workers,
        min_workers=min_workers,
        launcher=launcher,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
        memory=memory,
    )
    report = output.carry_out(plan, dry_run=dry_run, log_to=log_to, epochs=plan.config.epochs)
    if report is not None:
        output.report(f"Trained {out}", training_facts(report), report)
