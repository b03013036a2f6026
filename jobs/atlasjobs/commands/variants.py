"""``atlasbasset variants``: what the variants of a VCF do to accessibility."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import (
    BothStrands,
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

__all__ = ["variants"]

Vcf = Annotated[
    str,
    typer.Option("--vcf", metavar="FILE", help="Path or URL of a VCF, plain or gzip, any order."),
]
Genome = Annotated[
    str,
    typer.Option("--genome", metavar="FASTA", help="The genome it was called on; plain or bgzip."),
]
Out = Annotated[
    str,
    typer.Option("--out", metavar="RESULT", help="AnnData .zarr to write, or to resume."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by", metavar="OBS_KEY", help="Mean effects of these groups of cells [every cell]."
    ),
]
Scale = Annotated[
    Literal["linear", "sigmoid", "probability"],
    typer.Option(help="Of the effects: linear, its sigmoid, or that at each cell's depth."),
]
Dense = Annotated[
    bool,
    typer.Option(
        " /--no-dense",
        help="Write the factored form alone, without the table of effects.",
        show_default=False,
    ),
]
MaxAllele = Annotated[
    int, typer.Option("--max-allele-bp", help="Longest stretch, removed or put in, that is tried.")
]


def variants(
    model: ModelUrl,
    *,
    vcf: Vcf,
    genome: Genome,
    out: Out,
    group_by: GroupBy = None,
    obs: Obs = None,
    both_strands: BothStrands = False,
    scale: Scale = "linear",
    dense: Dense = True,
    max_allele_bp: MaxAllele = 50,
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
    """Predict what the variants of a VCF do to accessibility, per cell or group of cells."""
    from atlasbasset import plan_variants
    from atlasjobs.output.console import Output
    from atlasjobs.reports.variants import variants_facts

    output = Output(json)
    plan = plan_variants(
        model,
        vcf=vcf,
        genome=genome,
        out=out,
        group_by=group_by,
        obs=obs,
        both_strands=both_strands,
        scale=scale,
        dense=dense,
        max_allele_bp=max_allele_bp,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run, log_to=log_to)) is not None:
        output.report(f"Effects of variants in {out}", variants_facts(report), report)
