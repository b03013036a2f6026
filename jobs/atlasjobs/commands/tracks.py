"""``atlasbasset tracks``: accessibility of groups along the genome, and a page that browses it."""

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
    ModelUrl,
    Obs,
    Workers,
)

__all__ = ["tracks"]

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of the model's atlas.")]
GroupBy = Annotated[
    str, typer.Option("--group-by", metavar="COLUMN", help="Of obs: groups of the cells.")
]
Out = Annotated[str, typer.Option("--out", metavar="DIR", help="Folder to make, a path or URL.")]
Genome = Annotated[
    str | None, typer.Option(metavar="FASTA", help="Gives the chromosomes' lengths.")
]
GenomeWide = Annotated[
    list[str],
    typer.Option(
        "--genome-wide",
        metavar="REGION",
        help="Also predict along this chromosome, or chrom:start-end; repeatable.",
    ),
]
StepBp = Annotated[int, typer.Option(help="Distance of windows along the genome, bp.", min=1)]
Genes = Annotated[str | None, typer.Option(metavar="GTF", help="Genes for the page.")]
WithSequence = Annotated[
    bool, typer.Option("--with-sequence", help="Also write the bases, for the page to show.")
]


def tracks(
    model: ModelUrl,
    atlas: Atlas,
    *,
    group_by: GroupBy,
    out: Out,
    obs: Obs = None,
    genome: Genome = None,
    genome_wide: GenomeWide = [],  # noqa: B006 - read only
    step_bp: StepBp = 128,
    genes: Genes = None,
    with_sequence: WithSequence = False,
    compute: Compute = "fp32",
    convolution: Convolution = "auto",
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write groups' accessibility along the genome as bigWig, with a page that browses it."""
    from atlasbasset import plan_tracks
    from atlasjobs.output.console import Output
    from atlasjobs.reports.tracks import tracks_facts

    output = Output(json)
    plan = plan_tracks(
        model,
        atlas,
        group_by=group_by,
        out=out,
        obs=obs,
        genome=genome,
        genome_wide=genome_wide,
        step_bp=step_bp,
        genes=genes,
        with_sequence=with_sequence,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Tracks in {out}", tracks_facts(report), report)
