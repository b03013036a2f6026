"""The console script ``atlasbasset``: verbs and nothing else.

Starting it imports neither torch, Ray nor AnnData; a verb imports its work when it runs, and its
options are made when it is asked for.
"""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atlasjobs.commands.annotate import annotate
from atlasjobs.commands.card import card
from atlasjobs.commands.catalog import catalog
from atlasjobs.commands.copy_store import copy_store
from atlasjobs.commands.demo import demo
from atlasjobs.commands.denoise import denoise
from atlasjobs.commands.differential import differential
from atlasjobs.commands.discover import discover
from atlasjobs.commands.embed import embed
from atlasjobs.commands.evaluate import evaluate
from atlasjobs.commands.export_result import export_result
from atlasjobs.commands.export_weights import export_weights
from atlasjobs.commands.import_weights import import_weights
from atlasjobs.commands.inspect_store import inspect_store
from atlasjobs.commands.ism import ism
from atlasjobs.commands.list_stores import list_stores
from atlasjobs.commands.logs import logs
from atlasjobs.commands.map_cells import map_cells
from atlasjobs.commands.match import match
from atlasjobs.commands.motifs import motifs
from atlasjobs.commands.preprocess import preprocess
from atlasjobs.commands.pull_model import pull_model
from atlasjobs.commands.push_model import push_model
from atlasjobs.commands.report import report
from atlasjobs.commands.resources import resources
from atlasjobs.commands.simulate import simulate
from atlasjobs.commands.status import status
from atlasjobs.commands.stop import stop
from atlasjobs.commands.submit import submit
from atlasjobs.commands.tracks import tracks
from atlasjobs.commands.train import train
from atlasjobs.commands.variants import variants
from atlasjobs.commands.watch import watch
from atlasjobs.options.recipe import RecipeVerb
from atlasjobs.program import Program, Verb, Verbs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app", "main"]

app = typer.Typer(
    name="atlasbasset",
    help="scBasset at atlas scale: from a peak atlas and a genome to cell embeddings.",
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_VERBS: dict[str, "Callable[..., object]"] = {
    "demo": demo,
    "simulate": simulate,
    "preprocess": preprocess,
    "inspect": inspect_store,
    "train": train,
    "watch": watch,
    "map": map_cells,
    "embed": embed,
    "annotate": annotate,
    "evaluate": evaluate,
    "denoise": denoise,
    "motifs": motifs,
    "ism": ism,
    "match": match,
    "discover": discover,
    "variants": variants,
    "differential": differential,
    "tracks": tracks,
    "report": report,
    "import-weights": import_weights,
    "export-weights": export_weights,
    "list": list_stores,
    "copy": copy_store,
    "export": export_result,
    "card": card,
    "catalog": catalog,
    "push": push_model,
    "pull": pull_model,
    "submit": submit,
    "status": status,
    "logs": logs,
    "stop": stop,
    "resources": resources,
}
_CONTEXTS = {"submit": {"allow_interspersed_args": False}}  # what follows VERB is the verb's


def _built(verb: str) -> Any:
    """Return a verb as the command line knows it."""
    holder = typer.Typer(add_completion=False, rich_markup_mode=app.rich_markup_mode)
    holder.command(
        verb,
        cls=RecipeVerb if verb == "train" else Verb,
        context_settings=_CONTEXTS.get(verb),
    )(_VERBS[verb])
    return typer.main.get_command(holder)


Program.verbs = Verbs(tuple(_VERBS), _built)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - how callbacks are called
    if wanted:
        from importlib.metadata import version

        typer.echo(f"atlasbasset {version('atlasbasset')}")
        raise typer.Exit


@app.callback(help=app.info.help)
def _program(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Take the options before the verb."""


def main() -> None:
    """Run the command line and exit with its code."""
    # Threads that wait by spinning make a job on shared cores several times slower, and a step's
    # large arrays cost fewer page faults in huge pages. Read once, when torch is imported; only
    # where the user has not chosen.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    app()
