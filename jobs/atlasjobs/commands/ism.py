"""``atlasbasset ism``: in-silico saturation mutagenesis of regions."""

from typing import Annotated

import typer

from atlasjobs.options.common import (
    Compute,
    Config,
    Convolution,
    CpusPerWorker,
    Debug,
    DryRun,
    GpusPerWorker,
    Json,
    LogTo,
    ModelUrl,
    Obs,
    Workers,
)

__all__ = ["ism"]

Out = Annotated[
    str, typer.Option("--out", metavar="RESULT", help="AnnData .zarr to make, regions x groups.")
]
Genome = Annotated[
    str | None,
    typer.Option("--genome", metavar="FASTA", help="Path or URL of the genome, plain or bgzip."),
]
Regions = Annotated[
    str | None,
    typer.Option("--regions", metavar="BED", help="Regions on the genome, 0-based half-open."),
]
Atlas = Annotated[
    str | None,
    typer.Option("--atlas", metavar="ATLAS", help="Instead: an atlas, whose sequences are used,"),
]
Peaks = Annotated[
    str | None,
    typer.Option("--peaks", metavar="NAME,NAME", help="and names of its peaks, by commas."),
]
Span = Annotated[
    int | None,
    typer.Option("--span", metavar="BP", help="Central bp of each window to mutate [all of it]."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="OBS_KEY",
        help="Write scores of these groups of cells, as means [every cell, in compact form].",
    ),
]
Plot = Annotated[
    str | None,
    typer.Option("--plot", metavar="DIR", help="Also draw a logo of each region in each group."),
]


def ism(
    model: ModelUrl,
    *,
    out: Out,
    genome: Genome = None,
    regions: Regions = None,
    atlas: Atlas = None,
    peaks: Peaks = None,
    span: Span = None,
    group_by: GroupBy = None,
    obs: Obs = None,
    plot: Plot = None,
    compute: Compute = "fp32",
    convolution: Convolution = "auto",
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    log_to: LogTo = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Try every base at every position of regions, and score what it does to accessibility."""
    from atlasbasset import plan_ism
    from atlasjobs.output.console import Output
    from atlasjobs.reports.ism import ism_facts

    if plot is not None:
        from atlasjobs.reports.logo import check_logos

        check_logos(plot, group_by)
    output = Output(json)
    plan = plan_ism(
        model,
        out=out,
        genome=genome,
        regions=regions,
        atlas=atlas,
        peaks=None if peaks is None else [name for name in peaks.split(",") if name],
        span=span,
        group_by=group_by,
        obs=obs,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run, log_to=log_to)) is None:
        return
    if plot is not None:
        from atlasjobs.reports.logo import save_logos
        from atlasstore.results.ism_result import IsmResult

        with output.watching() as on_event:
            save_logos(IsmResult.open(out), plot, on_event=on_event)
    output.report(f"Mutagenesis in {out}", ism_facts(report, plot=plot), report)
