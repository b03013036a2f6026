"""``atlasbasset list``: which atlases, models and results lie below a path or URL."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json

__all__ = ["list_stores"]

Prefix = Annotated[
    str, typer.Argument(metavar="PREFIX", help="Path or URL of a folder, or of one store.")
]


def list_stores(
    prefix: Prefix,
    *,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """List the atlases, models and results below a path or URL."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import store_lines, store_table
    from atlasstore import list_stores as work

    output = Output(json)
    found = work(prefix)
    if not found:
        output.line(f"no atlas, model or result lies below {prefix}")
    else:
        output.table(*store_table(found))
        for line in store_lines(found):
            output.line(line)
    output.json({"prefix": prefix, "stores": [store.as_json() for store in found]})
