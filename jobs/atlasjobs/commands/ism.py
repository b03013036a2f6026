"""``atlasbasset ism``: in-silico saturation mutagenesis of regions."""

from typing import Annotated, Any

import typer

from atlasjobs.options.common import (
    Compute,
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

__all__ = ["ism"]

Out = Annotated[
    str, typer.Option("--out", metavar="RESULT", help="AnnData .zarr to make, regions x groups.")
]
Genome = Annotated[
    str | None,
    typer.Option("--genome", metavar="FASTA", help="Path of the genome, plain or bgzip."),
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
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Try every base at every position of regions, and score what it does to accessibility."""
    from atlasjobs.output.console import Output

    output = Output(json)
    chosen: dict[str, Any] = {
        "genome": genome,
        "regions": regions,
        "atlas": atlas,
        "peaks": None if peaks is None else [name for name in peaks.split(",") if name],
        "span": span,
        "group_by": group_by,
        "obs": obs,
    }
    if plot is not None:
        from atlasjobs.reports.logo import check_logos

        check_logos(plot, group_by)
    if dry_run:
        from atlasbasset.batch.executor import WorkerPool as Pool
        from atlasjobs.reports.ism import ism_plan

        pool = Pool(workers, cpus_per_worker, gpus_per_worker)
        output.plan(ism_plan(model, out, chosen, pool=pool))
        return
    from atlasbasset.verbs.ism.ism import ism as work
    from atlasjobs.reports.ism import ism_facts

    with output.watching() as on_event:
        report = work(
            model,
            out=out,
            compute=compute,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            on_event=on_event,
            **chosen,
        )
        if plot is not None:
            from atlasjobs.reports.logo import save_logos
            from atlasstore.results.ism_result import IsmResult

            save_logos(IsmResult.open(out), plot, on_event=on_event)
    output.report(f"Mutagenesis in {out}", ism_facts(report, plot=plot), report)
