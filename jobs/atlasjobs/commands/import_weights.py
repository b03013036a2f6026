"""``atlasbasset import-weights``: published weight files as a model store."""

from typing import Annotated, Literal

import typer

from atlasjobs.options.common import Config, Debug, Json

__all__ = ["import_weights"]

File = Annotated[
    str,
    typer.Argument(metavar="WEIGHTS", help="TensorFlow .h5, or scvi-tools' folder or state dict."),
]
Out = Annotated[
    str, typer.Option("--out", metavar="MODEL", help="Path or URL of the model; must not exist.")
]
ObsNames = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Cell names in the weights' order, one per line."),
]
Batches = Annotated[
    str | None, typer.Option(metavar="FILE", help="Each cell's batch, one per line.")
]
Format = Annotated[
    Literal["auto", "tensorflow", "scvi"], typer.Option("--format", help="Of the weights.")
]


def import_weights(
    path: File,
    *,
    out: Out,
    obs_names: ObsNames = None,
    batches: Batches = None,
    format: Format = "auto",
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make a model of published weights (released TensorFlow .h5, or scvi-tools)."""
    from atlasbasset import import_weights as work
    from atlasjobs.output.console import Output

    report = work(path, out=out, obs_names=obs_names, batches=batches, format=format)
    output = Output(json)
    rows = [
        ("format", report.format),
        ("cells", f"{report.n_cells:,}, names: {report.named_by}"),
        ("batches", ", ".join(report.batches) or "none"),
    ]
    output.report(f"Imported {path} as {out}", rows, report)
