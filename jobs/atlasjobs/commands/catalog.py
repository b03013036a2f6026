"""``atlasbasset catalog``: one page and one table of the stores below a path or URL."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json

__all__ = ["catalog"]

Prefix = Annotated[str, typer.Argument(metavar="PREFIX", help="Path or URL of a folder.")]
Out = Annotated[
    str,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help="Path or URL to write index.html and catalog.parquet into; replaced.",
    ),
]
Title = Annotated[
    str | None, typer.Option(help="Heading of the page [the prefix].", show_default=False)
]


def catalog(
    prefix: Prefix,
    *,
    out: Out,
    title: Title = None,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write one page and one table of the stores below a path or URL."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import catalog_facts
    from atlasstore import write_catalog as work

    output = Output(json)
    report = work(prefix, out=out, title=title)
    output.report(f"Catalogue of {prefix}", catalog_facts(report), report)
