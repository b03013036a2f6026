"""Options that several verbs share, each described once."""

from __future__ import annotations

from typing import Annotated

import typer

from atlasjobs.config_file import apply_config

__all__ = ["Config", "Debug", "DryRun", "Json", "ModelUrl"]

_COMMON = "Common"

Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Also write what is printed as JSON to this file or URL; - is standard output, "
        "and the text then goes to standard error.",
        rich_help_panel=_COMMON,
        show_default=False,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Print the plan (rows, blocks, bytes, memory, workers); touch nothing.",
        rich_help_panel=_COMMON,
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file of this verb's options, keys as above; the command line wins.",
        rich_help_panel=_COMMON,
        callback=apply_config,
        is_eager=True,
        show_default=False,
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        envvar="ATLASBASSET_DEBUG",
        help="On failure, show the traceback.",
        rich_help_panel=_COMMON,
        is_eager=True,
    ),
]
ModelUrl = Annotated[str, typer.Argument(metavar="MODEL", help="Path or URL of a model.")]
