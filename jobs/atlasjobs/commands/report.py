"""``atlasbasset report``: one page of what a model learned."""

from typing import Annotated

import typer

from atlasjobs.options.common import (
    Config,
    CpusPerWorker,
    Debug,
    DryRun,
    GpusPerWorker,
    Json,
    ModelUrl,
    Obs,
    Workers,
)

__all__ = ["report"]

Stores = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ATLAS] [RESULT]...",
        help="What was made with it, in any order: atlas, results, tracks, JSON of evaluate.",
    ),
]
Out = Annotated[
    str, typer.Option("--out", metavar="FILE", help="report.html, a path or URL; replaced.")
]
LabelKey = Annotated[
    str | None, typer.Option(help="Column of obs with cell types [Leiden clusters].")
]
BatchKey = Annotated[str | None, typer.Option(help="Column of obs with batches.")]
Tfs = Annotated[
    list[str],
    typer.Option(
        "--tfs", metavar="TF", help="TF to colour cells by; repeatable [each group's first]."
    ),
]
Loci = Annotated[
    list[str],
    typer.Option(
        "--loci",
        metavar="REGION",
        help="chrom:start-end whose tracks are shown; repeatable [peaks that differ most].",
    ),
]
Title = Annotated[str | None, typer.Option(help="Heading of the page.", show_default=False)]
MaxCells = Annotated[int, typer.Option(help="Cells shown; of more, a seeded sample.", min=2)]
MaxPeaks = Annotated[
    int, typer.Option(help="Held-out peaks predicted; of more, a seeded sample.", min=1)
]
Seed = Annotated[int, typer.Option(help="Of samples, map and clusters.", min=0)]


def report(
    model: ModelUrl,
    stores: Stores = None,
    *,
    out: Out,
    label_key: LabelKey = None,
    batch_key: BatchKey = None,
    obs: Obs = None,
    tfs: Tfs = [],  # noqa: B006 - read only
    loci: Loci = [],  # noqa: B006
    title: Title = None,
    max_cells: MaxCells = 20_000,
    max_peaks: MaxPeaks = 2_000,
    seed: Seed = 0,
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Show what a model learned on one page, an HTML file that needs no network."""
    from atlasbasset import plan_report
    from atlasjobs.output.console import Output
    from atlasjobs.reports.report import report_facts

    output = Output(json)
    plan = plan_report(
        model,
        *(stores or ()),
        out=out,
        label_key=label_key,
        batch_key=batch_key,
        obs=obs,
        tfs=tfs,
        loci=loci,
        title=title,
        max_cells=max_cells,
        max_peaks=max_peaks,
        seed=seed,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (written := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Report in {out}", report_facts(written), written)
