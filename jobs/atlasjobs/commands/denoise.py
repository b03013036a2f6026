"""``atlasbasset denoise``: denoised accessibility of chosen peaks and cells."""

from typing import Annotated, Literal

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
    compute: Compute = "fp32",
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write denoised accessibility, cells x peaks, as AnnData zarr."""
    from atlasjobs.output.console import Output

    output = Output(json)
    if dry_run:
        from atlasbasset.batch.executor import WorkerPool as Pool
        from atlasjobs.reports.denoise import denoise_plan

        plan = denoise_plan(
            model,
            atlas,
            out,
            peaks=peaks,
            cells=cells,
            genes=genes,
            scale=scale,
            dtype=dtype if dense else None,
            pool=Pool(workers, cpus_per_worker, gpus_per_worker),
        )
        output.plan(plan)
        return
    from atlasbasset import denoise as work
    from atlasjobs.reports.denoise import denoise_facts

    with output.watching() as on_event:
        report = work(
            model,
            atlas,
            out=out,
            peaks=peaks,
            cells=cells,
            genes=genes,
            scale=scale,
            dtype=dtype,
            dense=dense,
            compute=compute,
            workers=workers,
            gpus_per_worker=gpus_per_worker,
            cpus_per_worker=cpus_per_worker,
            on_event=on_event,
        )
    output.report(f"Denoised accessibility in {out}", denoise_facts(report), report)
