"""Atlas stores: counts and a genome in, shared results out; needs no deep-learning stack.

::

    atlasstore.preprocess("counts.h5ad", genome="genome.fa", out="atlas.zarr")
    atlas = atlasstore.open("atlas.zarr")
"""

from __future__ import annotations

from typing import Any

from atlasstore import errors
from atlasstore.atlas.atlas import Atlas
from atlasstore.inspect_store import StoreSummary, inspect_store
from atlasstore.inspect_store import open_store as open
from atlasstore.preprocess.append import AppendReport, append
from atlasstore.preprocess.preprocess import PreprocessReport, preprocess
from atlasstore.results.as_anndata import predicted

__all__ = [
    "AppendReport",
    "Atlas",
    "PreprocessReport",
    "StoreSummary",
    "append",
    "errors",
    "inspect_store",
    "open",
    "predicted",
    "preprocess",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """Import `simulate` when it is first asked for."""
    if name == "simulate":
        from atlasstore.simulation import simulate

        return simulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
