"""``atlasbasset inspect``: what a store or file is, its sizes and provenance."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json

__all__ = ["inspect_store"]

Store = Annotated[
    str,
    typer.Argument(metavar="STORE", help="Path or URL of any store or file of ours."),
]
Verify = Annotated[bool, typer.Option("--verify", help="Also read everything and check it.")]


def inspect_store(
    store: Store,
    *,
    verify: Verify = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> str:
    """Say what a store or file is: sizes, provenance, and with --verify its integrity."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.inspect_store import kind_of, store_facts
    from atlasstore import inspect_store as work

    output = Output(json)
    with output.watching() as on_event:
        summary = work(store, verify=verify, on_event=on_event)
    output.report(store, store_facts(summary), summary)
    return kind_of(summary)  # what the next command depends on
