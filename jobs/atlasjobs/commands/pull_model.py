"""``atlasbasset pull``: a model from where it was pushed to."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, CopyOut, Debug, Json

__all__ = ["pull_model"]

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="URL of a model: a bucket, https://, hf://owner/name[@revision]."
    ),
]


def pull_model(
    source: Source,
    *,
    out: CopyOut,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Copy a model from a URL and check it: it is there whole, or not at all."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import copy_facts
    from atlasstore import pull_model as work

    output = Output(json)
    with output.watching() as on_event:
        report = work(source, out=out, on_event=on_event)
    output.report(f"Pulled {source} to {out}", copy_facts(report), report)
