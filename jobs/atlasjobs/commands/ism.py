"""``atlasbasset ism``: in-silico saturation mutagenesis of regions."""

from typing import Annotated, Any, Literal

import typer

from atlasjobs.options import Config, Debug, DryRun, Json, ModelUrl

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
Compute = Annotated[
    Literal["auto", "bf16", "fp32"], typer.Option(help="Arithmetic of the convolutions.")
]
_WORKERS = "Workers"
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        help="Ray Data actors that share the regions; 0: this process alone.",
        rich_help_panel=_WORKERS,
    ),
]
GpusPerWorker = Annotated[
    float, typer.Option(help="GPUs of a worker; a fraction shares one.", rich_help_panel=_WORKERS)
]
CpusPerWorker = Annotated[
    float, typer.Option(help="CPU cores, and threads, of a worker.", rich_help_panel=_WORKERS)
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
    from atlasjobs.console import Output

    output = Output(json)
    chosen: dict[str, Any] = {
        "genome": genome,
        "regions": regions,
        "atlas": atlas,
        "peaks": None if peaks is None else [name for name in peaks.split(",") if name],
        "span": span,
        "group_by": group_by,
    }
    if plot is not None:
        from atlasjobs.logo import check_logos

        check_logos(plot, group_by)
    if dry_run:
        from atlasjobs.ism_report import ism_plan

        output.plan(ism_plan(model, out, chosen, workers=workers))
        return
    from atlasbasset.verbs.ism import ism as work
    from atlasjobs.ism_report import ism_facts

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
            from atlasjobs.logo import save_logos
            from atlasstore.ism_result import IsmResult

            save_logos(IsmResult.open(out), plot, on_event=on_event)
    output.report(f"Mutagenesis in {out}", ism_facts(report, plot=plot), report)
