"""``atlasbasset copy``: a store to another place."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, CopyOut, Debug, Json

__all__ = ["copy_store"]

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Path or URL of an atlas, model or result.")
]
Verify = Annotated[
    bool, typer.Option("--verify", help="Also check the content by the store's own checksums.")
]


def copy_store(
    source: Source,
    *,
    out: CopyOut,
    verify: Verify = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Copy an atlas, model or result, every file compared; goes on where it stopped."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import copy_facts
    from atlasstore import copy_store as work

    output = Output(json)
    with output.watching() as on_event:
        report = work(source, out=out, verify=verify, on_event=on_event)
    output.report(f"Copied {source} to {out}", copy_facts(report), report)
