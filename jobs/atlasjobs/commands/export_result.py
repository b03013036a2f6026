"""``atlasbasset export``: a part of a result as h5ad, Parquet or text."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json

__all__ = ["export_result"]

ResultUrl = Annotated[str, typer.Argument(metavar="RESULT", help="Path or URL of a result.")]
Out = Annotated[
    str,
    typer.Option(
        "--out", metavar="FILE", help="File to make: .h5ad, .parquet, .tsv, .csv (also .gz)."
    ),
]
Cells = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Names of cells (rows), one a line [all]."),
]
Where = Annotated[
    list[str],
    typer.Option(
        metavar="COLUMN=VALUE", help="Only cells with this label; repeatable, one column or more."
    ),
]
Peaks = Annotated[
    list[str],
    typer.Option(
        metavar="PEAKS",
        help="A peak's (column's) name, a region chrom:start-end in bp, a BED file, or a file of "
        "names; repeatable [all].",
    ),
]
Layer = Annotated[str | None, typer.Option(help="A table of layers in place of X.")]
Decoded = Annotated[
    bool,
    typer.Option(
        "--decoded",
        help="Values stored in 256 steps (denoise --dtype uint8) as numbers, float32.",
    ),
]


def export_result(
    result: ResultUrl,
    *,
    out: Out,
    cells: Cells = None,
    where: Where = [],  # noqa: B006 - read only
    peaks: Peaks = [],  # noqa: B006 - read only
    layer: Layer = None,
    decoded: Decoded = False,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write a part of a result as h5ad, Parquet or text, however large."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import export_facts
    from atlasstore import plan_export

    output = Output(json)
    plan = plan_export(
        result, out=out, cells=cells, where=where, peaks=peaks, layer=layer, decoded=decoded
    )
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Exported {result} to {out}", export_facts(report), report)
