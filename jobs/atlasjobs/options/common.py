"""Options that several verbs share, each described once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from atlasjobs.options.config_file import apply_config

__all__ = [
    "BothStrands",
    "Compute",
    "Config",
    "Convolution",
    "CopyOut",
    "CpusPerWorker",
    "Debug",
    "DryRun",
    "GpusPerWorker",
    "Json",
    "LogTo",
    "ModelUrl",
    "Obs",
    "ObsGroupBy",
    "Workers",
]

_COMMON = "Common"
_WORKERS = "Workers"

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
LogTo = Annotated[
    list[str] | None,
    typer.Option(
        "--log-to",
        metavar="TRACKER:PLACE",
        help="Also log to tensorboard:DIR, mlflow:URI or wandb:PROJECT; repeatable.",
        rich_help_panel=_COMMON,
        show_default=False,
    ),
]
CopyOut = Annotated[
    str, typer.Option("--out", metavar="URL", help="Path or URL of the copy; must not exist.")
]
ModelUrl = Annotated[str, typer.Argument(metavar="MODEL", help="Path or URL of a model.")]
Obs = Annotated[
    str | None,
    typer.Option(
        "--obs",
        metavar="FILE",
        help="CSV, TSV or AnnData with labels of the cells, matched by name [the model's].",
    ),
]
ObsGroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="COLUMN",
        help="Of --obs: groups of the cells, in the place of a result's cells.",
    ),
]
BothStrands = Annotated[
    bool,
    typer.Option(
        "--both-strands", help="Mean effects of either strand's window, at twice the cost."
    ),
]
Compute = Annotated[
    Literal["auto", "bf16", "fp32"], typer.Option(help="Arithmetic of the convolutions.")
]
Convolution = Annotated[
    Literal["auto", "direct", "minimal"],
    typer.Option(
        help="How float32 convolutions on CPU are computed; auto: what is faster on this machine."
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        help="Ray Data actors that share the work; 0: this process alone.",
        rich_help_panel=_WORKERS,
    ),
]
GpusPerWorker = Annotated[
    float, typer.Option(help="GPUs of a worker; a fraction shares one.", rich_help_panel=_WORKERS)
]
CpusPerWorker = Annotated[
    float, typer.Option(help="CPU cores, and threads, of a worker.", rich_help_panel=_WORKERS)
]
