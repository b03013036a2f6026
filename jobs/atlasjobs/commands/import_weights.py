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
    str | None,
    typer.Option(metavar="FILE", help="Each cell's batch, one a line; or a table (--batch-key)."),
]
BatchKey = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Of --batches, a CSV, TSV or AnnData with a row a cell."),
]
BatchOrder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME",
        help="The batches in the model's order [their categories', else natural order].",
    ),
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
    batch_key: BatchKey = None,
    batch_order: BatchOrder = None,
    format: Format = "auto",
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Make a model of published weights (released TensorFlow .h5, or scvi-tools)."""
    from atlasbasset import import_weights as work
    from atlasjobs.output.console import Output

    report = work(
        path,
        out=out,
        obs_names=obs_names,
        batches=batches,
        batch_key=batch_key,
        batch_order=None if batch_order is None else batch_order.split(","),
        format=format,
    )
    output = Output(json)
    rows = [
        ("format", report.format),
        ("cells", f"{report.n_cells:,}, names: {report.named_by}"),
        ("batches", _batches(report.batches, report.ordered_by)),
    ]
    output.report(f"Imported {path} as {out}", rows, report)


def _batches(names: tuple[str, ...], ordered_by: str | None) -> str:
    if ordered_by is None:
        return "none"
    how = {"given": "as given", "categories": "by category", "file": "as in the file"}
    return f"{', '.join(names)} ({how.get(ordered_by, f'in {ordered_by}')})"
