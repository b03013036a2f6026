"""``atlasbasset export-weights``: a model in the released TensorFlow code's format."""

from typing import Annotated

import typer

from atlasjobs.options.common import Config, Debug, Json, ModelUrl

__all__ = ["export_weights"]

Out = Annotated[str, typer.Argument(metavar="FILE", help="TensorFlow .h5 file to make.")]


def export_weights(
    model: ModelUrl,
    path: Out,
    *,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write a model's weights as the released TensorFlow code reads them."""
    from atlasbasset import export_weights as work
    from atlasjobs.output.console import Output

    work(model, path)
    output = Output(json)
    output.line(f"Exported {model} to {path}")
    output.json({"model": model, "path": path, "format": "tensorflow"})
