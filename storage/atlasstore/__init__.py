"""Atlas stores: counts and a genome in, shared results out; needs no deep-learning stack.

::

    atlasstore.preprocess("counts.h5ad", genome="genome.fa", out="atlas.zarr")
    atlas = atlasstore.open("atlas.zarr")
    print(atlasstore.plan_preprocess("more.h5ad", genome="genome.fa", out="more.zarr"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atlasstore import errors

# Functions by the name of a room, which would win when that is imported: so they are here first.
from atlasstore.inspect_store import StoreSummary, inspect_store
from atlasstore.inspect_store import open_store as open
from atlasstore.preprocess.preprocess import preprocess

if TYPE_CHECKING:
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.cards.store_card import write_card
    from atlasstore.preprocess.append import AppendReport, append
    from atlasstore.preprocess.plan import plan_preprocess
    from atlasstore.preprocess.report import PreprocessReport
    from atlasstore.results.as_anndata import predicted
    from atlasstore.sharing.catalog import write_catalog
    from atlasstore.sharing.copying import copy_store, pull_model, push_model
    from atlasstore.sharing.exporting import export_result, plan_export
    from atlasstore.sharing.listing import list_stores
    from atlasstore.simulation import plan_simulate, simulate

_LATER = {
    "AppendReport": "preprocess.append",
    "Atlas": "atlas.atlas",
    "PreprocessReport": "preprocess.report",
    "append": "preprocess.append",
    "plan_preprocess": "preprocess.plan",
    "predicted": "results.as_anndata",
    "plan_simulate": "simulation",
    "simulate": "simulation",
    "copy_store": "sharing.copying",
    "export_result": "sharing.exporting",
    "list_stores": "sharing.listing",
    "plan_export": "sharing.exporting",
    "pull_model": "sharing.copying",
    "push_model": "sharing.copying",
    "write_card": "cards.store_card",
    "write_catalog": "sharing.catalog",
}
"""Imported when first used: name -> module."""

__all__ = [
    "AppendReport",
    "Atlas",
    "PreprocessReport",
    "StoreSummary",
    "append",
    "copy_store",
    "errors",
    "export_result",
    "inspect_store",
    "list_stores",
    "open",
    "plan_export",
    "plan_preprocess",
    "plan_simulate",
    "predicted",
    "preprocess",
    "pull_model",
    "push_model",
    "simulate",
    "write_card",
    "write_catalog",
]


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted([*__all__, "__doc__", "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("atlasbasset")
    if name in _LATER:
        return getattr(import_module(f"atlasstore.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
