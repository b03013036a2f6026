"""``atlasbasset denoise``: denoised accessibility of chosen peaks and cells."""

from typing import Annotated, Literal

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
    Workers,
)

__all__ = ["denoise"]

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of the atlas.")]
Out = Annotated[
    str, typer.Option("--out", metavar="RESULT", help="AnnData .zarr to write, or to resume.")
]
Peaks = Annotated[
    str | None,
    typer.Option("--peaks", metavar="BED", help="BED of the atlas's peaks wanted [all]."),
]
Cells = Annotated[
    str | None, typer.Option("--cells", metavar="FILE", help="Cell names, one per line [all].")
]
Genes = Annotated[
    str | None,
    typer.Option(
        "--genes", metavar="GTF", help="Columns are genes: the mean of peaks within 2 kb of a TSS."
    ),
]
Scale = Annotated[
    Literal["linear", "sigmoid", "probability"],
    typer.Option(
        help="linear: depth-normalised; sigmoid of it; probability: with depth, not batch."
    ),
]
DType = Annotated[
    Literal["float32", "float16", "uint8"],
    typer.Option(
        "--dtype",
        help="Of the dense table, unused without one; uint8: 256 steps, as the result says.",
    ),
]
Dense = Annotated[
    bool,
    typer.Option(
        " /--no-dense",
        help="Write the factored form alone, without the dense table.",
        show_default=False,
    ),
]
SequenceOnly = Annotated[
    bool,
    typer.Option(
        "--sequence-only",
        help="Leave out the peaks' deviations from their sequences, where the model has some.",
    ),
]


def denoise(
    model: ModelUrl,
    atlas: Atlas,
    *,
    out: Out,
    peaks: Peaks = None,
    cells: Cells = None,
    genes: Genes = None,
    scale: Scale = "linear",
    dtype: DType = "float32",
    dense: Dense = True,
    sequence_only: SequenceOnly = False,
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
    """Write denoised accessibility, cells x peaks, as AnnData zarr."""
    from atlasbasset import plan_denoise
    from atlasjobs.output.console import Output
    from atlasjobs.reports.denoise import denoise_facts

    output = Output(json)
    plan = plan_denoise(
        model,
        atlas,
        out=out,
        peaks=peaks,
        cells=cells,
        genes=genes,
        scale=scale,
        dtype=dtype,
        dense=dense,
        sequence_only=sequence_only,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    if (report := output.carry_out(plan, dry_run=dry_run, log_to=log_to)) is not None:
        output.report(f"Denoised accessibility in {out}", denoise_facts(report), report)
