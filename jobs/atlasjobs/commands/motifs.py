"""``atlasbasset motifs``: TF activity of every cell by motif insertion."""

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

__all__ = ["motifs"]

Atlas = Annotated[
    str,
    typer.Argument(metavar="ATLAS", help="Path or URL of the atlas whose peaks are shuffled."),
]
Meme = Annotated[
    str,
    typer.Option("--motifs", metavar="MEME", help="MEME file (JASPAR, CIS-BP, HOCOMOCO, ...)."),
]
Out = Annotated[
    str,
    typer.Option("--out", metavar="RESULT", help="AnnData .zarr to make, cells x motifs."),
]
Backgrounds = Annotated[
    int, typer.Option("--n-backgrounds", help="Shuffled peaks that each motif is written into.")
]
Split = Annotated[
    Literal["train", "valid", "test", "all"], typer.Option(help="Peaks that are drawn from.")
]
Seed = Annotated[int, typer.Option(help="Of peaks, shuffles and motif sequences.")]
Scale = Annotated[
    Literal["linear", "sigmoid"],
    typer.Option(help="Average over backgrounds before (linear) or after a sigmoid."),
]
Shuffled = Annotated[
    int,
    typer.Option(
        help="Copies of each motif with its positions in random order, scored in its place.", min=0
    ),
]


def motifs(
    model: ModelUrl,
    atlas: Atlas,
    *,
    motifs: Meme,
    out: Out,
    obs: Obs = None,
    n_backgrounds: Backgrounds = 1000,
    split: Split = "all",
    seed: Seed = 0,
    scale: Scale = "linear",
    both_strands: BothStrands = False,
    shuffled: Shuffled = 0,
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
    """Score every TF's activity in every cell by inserting its motif into shuffled peaks."""
    from atlasbasset import plan_motifs
    from atlasjobs.output.console import Output
    from atlasjobs.reports.motifs import motifs_facts

    output = Output(json)
    plan = plan_motifs(
        model,
        atlas,
        motifs=motifs,
        out=out,
        obs=obs,
        n_backgrounds=n_backgrounds,
        split=split,
        seed=seed,
        scale=scale,
        both_strands=both_strands,
        shuffled=shuffled,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run, log_to=log_to)) is not None:
        output.report(f"TF activity in {out}", motifs_facts(report), report)
