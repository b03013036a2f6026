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


def annotate(
    model: ModelUrl,
    cells: Cells,
    *,
    columns: Columns = None,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Store labels of cells in a model, for all that groups cells by them."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.annotate import annotate_facts, annotate_plan

    output = Output(json)
    if dry_run:
        output.plan(annotate_plan(model, cells, columns))
        return
    from atlasbasset import annotate as work

    with output.watching() as on_event:
        report = work(model, cells, columns=columns, on_event=on_event)
    output.report(f"Labels in {model}", annotate_facts(report), report)
