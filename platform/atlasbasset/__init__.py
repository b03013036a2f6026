"""The model and the engine: train, embed, evaluate, denoise, TF activity, mutagenesis.

Names are imported when first used, so that ``import atlasbasset`` stays quick::

    model = atlasbasset.load_model("model.zarr")
    report = atlasbasset.denoise("model.zarr", "atlas.zarr", out="denoised.zarr")
    print(atlasbasset.plan_denoise("model.zarr", "atlas.zarr", out="denoised.zarr"))

On an AnnData at hand, as scanpy's: ``atlasbasset.pp``, ``atlasbasset.tl``, ``atlasbasset.pl``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasbasset import pl as pl
    from atlasbasset import pp as pp
    from atlasbasset import tl as tl
    from atlasbasset.engine.config import TrainConfig as TrainConfig
    from atlasbasset.inference.model import Model as Model
    from atlasbasset.inference.model import load_model as load_model
    from atlasbasset.loggers.log_to import log_to as log_to
    from atlasbasset.verbs.annotate import annotate as annotate
    from atlasbasset.verbs.annotate import plan_annotate as plan_annotate
    from atlasbasset.verbs.denoise.denoise import denoise as denoise
    from atlasbasset.verbs.denoise.plan import plan_denoise as plan_denoise
    from atlasbasset.verbs.differential.differential import differential as differential
    from atlasbasset.verbs.differential.plan import plan_differential as plan_differential
    from atlasbasset.verbs.discover import discover as discover
    from atlasbasset.verbs.discover import plan_discover as plan_discover
    from atlasbasset.verbs.embed.embed import embed as embed
    from atlasbasset.verbs.embed.plan import plan_embed as plan_embed
    from atlasbasset.verbs.evaluate import Evaluation as Evaluation
    from atlasbasset.verbs.evaluate import evaluate as evaluate
    from atlasbasset.verbs.evaluate import plan_evaluate as plan_evaluate
    from atlasbasset.verbs.ism.ism import ism as ism
    from atlasbasset.verbs.ism.plan import plan_ism as plan_ism
    from atlasbasset.verbs.map_cells.map_cells import map_cells as map_cells
    from atlasbasset.verbs.map_cells.plan import plan_map_cells as plan_map_cells
    from atlasbasset.verbs.map_cells.report import MapReport as MapReport
    from atlasbasset.verbs.match.match import match as match
    from atlasbasset.verbs.match.plan import plan_match as plan_match
    from atlasbasset.verbs.motifs.motifs import motif_activity as motif_activity
    from atlasbasset.verbs.motifs.plan import plan_motifs as plan_motifs
    from atlasbasset.verbs.preprocess import append as append
    from atlasbasset.verbs.preprocess import preprocess as preprocess
    from atlasbasset.verbs.report.plan import plan_report as plan_report
    from atlasbasset.verbs.report.report import report as report
    from atlasbasset.verbs.tracks.plan import plan_tracks as plan_tracks
    from atlasbasset.verbs.tracks.tracks import tracks as tracks
    from atlasbasset.verbs.train.plan import plan_train as plan_train
    from atlasbasset.verbs.train.train import train as train
    from atlasbasset.verbs.train.watch import watch as watch
    from atlasbasset.verbs.variants.plan import plan_variants as plan_variants
    from atlasbasset.verbs.variants.variants import variants as variants
    from atlasbasset.verbs.weights import export_weights as export_weights
    from atlasbasset.verbs.weights import import_weights as import_weights

    __version__: str

_HOMES = {
    "Evaluation": "atlasbasset.verbs.evaluate",
    "MapReport": "atlasbasset.verbs.map_cells.report",
    "Model": "atlasbasset.inference.model",
    "TrainConfig": "atlasbasset.engine.config",
    "annotate": "atlasbasset.verbs.annotate",
    "append": "atlasbasset.verbs.preprocess",
    "denoise": "atlasbasset.verbs.denoise.denoise",
    "differential": "atlasbasset.verbs.differential.differential",
    "discover": "atlasbasset.verbs.discover",
    "embed": "atlasbasset.verbs.embed.embed",
    "evaluate": "atlasbasset.verbs.evaluate",
    "export_weights": "atlasbasset.verbs.weights",
    "import_weights": "atlasbasset.verbs.weights",
    "ism": "atlasbasset.verbs.ism.ism",
    "load_model": "atlasbasset.inference.model",
    "log_to": "atlasbasset.loggers.log_to",
    "map_cells": "atlasbasset.verbs.map_cells.map_cells",
    "match": "atlasbasset.verbs.match.match",
    "motif_activity": "atlasbasset.verbs.motifs.motifs",
    "plan_annotate": "atlasbasset.verbs.annotate",
    "plan_denoise": "atlasbasset.verbs.denoise.plan",
    "plan_differential": "atlasbasset.verbs.differential.plan",
    "plan_discover": "atlasbasset.verbs.discover",
    "plan_embed": "atlasbasset.verbs.embed.plan",
    "plan_evaluate": "atlasbasset.verbs.evaluate",
    "plan_ism": "atlasbasset.verbs.ism.plan",
    "plan_map_cells": "atlasbasset.verbs.map_cells.plan",
    "plan_match": "atlasbasset.verbs.match.plan",
    "plan_motifs": "atlasbasset.verbs.motifs.plan",
    "plan_report": "atlasbasset.verbs.report.plan",
    "plan_tracks": "atlasbasset.verbs.tracks.plan",
    "plan_train": "atlasbasset.verbs.train.plan",
    "plan_variants": "atlasbasset.verbs.variants.plan",
    "preprocess": "atlasbasset.verbs.preprocess",
    "report": "atlasbasset.verbs.report.report",
    "tracks": "atlasbasset.verbs.tracks.tracks",
    "train": "atlasbasset.verbs.train.train",
    "variants": "atlasbasset.verbs.variants.variants",
    "watch": "atlasbasset.verbs.train.watch",
}
_RENAMED = {"map": "map_cells", "motifs": "motif_activity"}
"""A verb's own name -> the function's: ``map`` would hide Python's in ``__all__``, ``motifs`` are
what goes in."""
_MODULES = ("pl", "pp", "tl")

__all__ = sorted([*_HOMES, *_MODULES])


def __dir__() -> list[str]:
    """Return the public names, for completion."""
    return sorted([*__all__, "__doc__", "__version__"])


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("atlasbasset")
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    function = _RENAMED.get(name, name)
    if function not in _HOMES:
        raise AttributeError(f"module 'atlasbasset' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[function]), function)
    globals()[name] = value
    return value
