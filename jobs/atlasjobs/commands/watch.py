"""``atlasbasset watch``: a training followed from its store."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json, LogTo, ModelUrl

__all__ = ["watch"]

EveryS = Annotated[float, typer.Option(help="Seconds between looks at the store.", min=0.1)]
Once = Annotated[bool, typer.Option("--once", help="Tell what is known now, and end.")]


def watch(
    model: ModelUrl,
    *,
    every_s: EveryS = 10.0,
    once: Once = False,
    log_to: LogTo = None,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Follow a training that runs here or elsewhere: a line for each epoch, until it ends."""
    from atlasbasset import log_to as logging_to
    from atlasbasset import watch as follow
    from atlasjobs.output.console import Output
    from atlasstore.models.model_store import ModelStore

    output = Output(json)
    epochs = (ModelStore.open(model).config.get("train") or {}).get("epochs")
    with (
        output.watching(epochs=epochs) as view,
        logging_to(*(log_to or ()), on_event=view) as on_event,
    ):
        state = follow(model, every_s=every_s, once=once, on_event=on_event)
    output.json({"model": model, **state.as_json()})
