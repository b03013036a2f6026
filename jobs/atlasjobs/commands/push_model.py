"""``atlasbasset push``: a model to where others find it."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json, ModelUrl

__all__ = ["push_model"]

Out = Annotated[
    str,
    typer.Option(
        "--out",
        metavar="URL",
        help="Path or URL, or hf://owner/name[@branch], a repository of Hugging Face.",
    ),
]
Private = Annotated[
    bool,
    typer.Option("--private/--public", help="Of a new repository of Hugging Face: who may see it."),
]


def push_model(
    model: ModelUrl,
    *,
    out: Out,
    private: Private = True,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Check a model and copy it to a bucket or a repository of Hugging Face."""
    from atlasjobs.output.console import Output
    from atlasjobs.reports.sharing import copy_facts
    from atlasstore import push_model as work

    output = Output(json)
    with output.watching() as on_event:
        report = work(model, out=out, private=private, on_event=on_event)
    output.report(f"Pushed {model} to {report.out}", copy_facts(report), report)
