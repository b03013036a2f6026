"""``atlasbasset differential``: accessibility or TF activity that differs between groups."""

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

__all__ = ["differential"]

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of the model's atlas.")]
GroupBy = Annotated[
    str, typer.Option("--group-by", metavar="COLUMN", help="Of obs: groups of the cells.")
]
Out = Annotated[
    str, typer.Option("--out", metavar="TABLE", help="Table to make: .parquet, .csv or .tsv.")
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME", help="Group to test; give several times [all]."),
]
Reference = Annotated[
    str, typer.Option(metavar="NAME", help="Group to compare with; rest: all other cells.")
]
Covariates = Annotated[
    list[str],
    typer.Option(
        "--covariates", metavar="COLUMN", help="Accounted for: donors, lanes; repeatable."
    ),
]
Motifs = Annotated[
    str | None,
    typer.Option(metavar="RESULT", help="TF activity: test its motifs in the place of peaks."),
]
Shuffled = Annotated[
    str | None,
    typer.Option(metavar="RESULT", help="What motifs --shuffled made: motifs are held to it."),
]
MinCells = Annotated[
    int, typer.Option(help="Peaks open, or closed, in fewer of the cells are not tested.", min=1)
]


def differential(
    model: ModelUrl,
    atlas: Atlas,
    *,
    group_by: GroupBy,
    out: Out,
    groups: Groups = None,
    reference: Reference = "rest",
    covariates: Covariates = [],  # noqa: B006 - read only
    motifs: Motifs = None,
    shuffled: Shuffled = None,
    obs: Obs = None,
    min_cells: MinCells = 10,
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
    """Test which peaks, or motifs, differ between groups of cells, at equal depth."""
    from atlasbasset import plan_differential
    from atlasjobs.output.console import Output
    from atlasjobs.reports.differential import differential_facts

    output = Output(json)
    plan = plan_differential(
        model,
        atlas,
        group_by=group_by,
        out=out,
        groups=groups,
        reference=reference,
        covariates=covariates,
        motifs=motifs,
        shuffled=shuffled,
        obs=obs,
        min_cells=min_cells,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Differences in {out}", differential_facts(report), report)
