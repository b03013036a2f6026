"""``atlasbasset denoise``: denoised accessibility of chosen peaks and cells."""

from typing import Annotated, Literal

import typer

from atlasjobs.options import Config, Debug, DryRun, Json, ModelUrl

__all__ = ["denoise"]

Atlas = Annotated[str, typer.Argument(metavar="ATLAS", help="Path or URL of the atlas.")]
Out = Annotated[
    str, typer.Option("--out", metavar="RESULT", help="AnnData .zarr to make; must not exist.")
]
Peaks = Annotated[
    str | None,
    typer.Option("--peaks", metavar="BED", help="BED of the atlas's peaks wanted [all]."),
]
Cells = Annotated[
    str | None, typer.Option("--cells", metavar="FILE", help="Cell names, one a line [all].")
]
Scale = Annotated[
    Literal["linear", "sigmoid", "probability"],
    typer.Option(help="linear: depth-normalised; sigmoid of it; probability: with depth."),
]
DType = Annotated[Literal["float32", "float16"], typer.Option("--dtype", help="Stored numbers.")]
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
    scale: Scale = "linear",
    dtype: DType = "float32",
    dense: Dense = True,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write denoised accessibility, cells x peaks, as AnnData zarr."""
    from atlasjobs.console import Output
    from atlasjobs.plans import denoising_plan

    output = Output(json)
    if dry_run:
        output.plan(
            denoising_plan(model, atlas, out, peaks=peaks, cells=cells, dtype=dtype, dense=dense)
        )
        return
    from atlasbasset import denoise as work
    from atlasjobs.facts import denoising_facts

    with output.watching() as on_event:
        report = work(
            model,
            atlas,
            out=out,
            peaks=peaks,
            cells=cells,
            scale=scale,
            dtype=dtype,
            dense=dense,
            on_event=on_event,
        )
    output.report(f"Denoised accessibility in {out}", denoising_facts(report), report)
