"""``atlasbasset annotate``: labels that came after training, stored in a model."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, ModelUrl

__all__ = ["annotate"]

Cells = Annotated[
    str,
    typer.Argument(metavar="CELLS", help="CSV, TSV or AnnData with labels, by the cells' names."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="NAME", help="Column to store; give several times [all new ones]."
    ),
]
Obsm = Annotated[
    list[str] | None,
    typer.Option(
        "--obsm",
        metavar="KEY",
        help="Map of an AnnData to store; give several times [all of at most 3 dimensions].",
    ),
]


def annotate(
    model: ModelUrl,
    cells: Cells,
    *,
    columns: Columns = None,
    obsm: Obsm = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Store labels and maps (UMAP) of cells in a model, for all that groups or draws them."""
    from atlasbasset import plan_annotate
    from atlasbasset.verbs.annotate import label_lines
    from atlasjobs.output.console import Output

    output = Output(json)
    plan = plan_annotate(model, cells, columns=columns, obsm=obsm)
    if (report := output.carry_out(plan, dry_run=dry_run)) is not None:
        output.report(f"Labels in {model}", label_lines(report), report)
