"""The model and the engine: train, embed, evaluate, denoise, TF activity, mutagenesis.

Names are imported when first used, so that ``import atlasbasset`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasbasset.engine.config import TrainConfig as TrainConfig
    from atlasbasset.inference.model import Model as Model
    from atlasbasset.inference.model import load_model as load_model
    from atlasbasset.verbs.annotate import annotate as annotate
    from atlasbasset.verbs.denoise.denoise import denoise as denoise
    from atlasbasset.verbs.discover import discover as discover
    from atlasbasset.verbs.embed import embed as embed
    from atlasbasset.verbs.evaluate import Evaluation as Evaluation
    from atlasbasset.verbs.evaluate import evaluate as evaluate
    from atlasbasset.verbs.ism.ism import ism as ism
    from atlasbasset.verbs.map_cells.map_cells import MapReport as MapReport
    from atlasbasset.verbs.map_cells.map_cells import map_cells as map_cells
    from atlasbasset.verbs.match.match import match as match
    from atlasbasset.verbs.motifs.motifs import motif_activity as motif_activity
    from atlasbasset.verbs.preprocess import append as append
    from atlasbasset.verbs.preprocess import preprocess as preprocess
    from atlasbasset.verbs.train.train import train as train
    from atlasbasset.verbs.variants.variants import variants as variants
    from atlasbasset.verbs.weights import export_weights as export_weights
    from atlasbasset.verbs.weights import import_weights as import_weights

_HOMES = {
    "append": "atlasbasset.verbs.preprocess",
    "preprocess": "atlasbasset.verbs.preprocess",
    "Evaluation": "atlasbasset.verbs.evaluate",
    "MapReport": "atlasbasset.verbs.map_cells.map_cells",
    "Model": "atlasbasset.inference.model",
    "TrainConfig": "atlasbasset.engine.config",
    "annotate": "atlasbasset.verbs.annotate",
    "denoise": "atlasbasset.verbs.denoise.denoise",
    "discover": "atlasbasset.verbs.discover",
    "embed": "atlasbasset.verbs.embed",
    "evaluate": "atlasbasset.verbs.evaluate",
    "export_weights": "atlasbasset.verbs.weights",
    "import_weights": "atlasbasset.verbs.weights",
    "ism": "atlasbasset.verbs.ism.ism",
    "load_model": "atlasbasset.inference.model",
    "map_cells": "atlasbasset.verbs.map_cells.map_cells",
    "match": "atlasbasset.verbs.match.match",
    "motif_activity": "atlasbasset.verbs.motifs.motifs",
    "train": "atlasbasset.verbs.train.train",
    "variants": "atlasbasset.verbs.variants.variants",
}
_RENAMED = {"map": "map_cells", "motifs": "motif_activity"}
"""A verb's own name -> the function's: ``map`` would hide Python's in ``__all__``, ``motifs`` are
what goes in."""

__all__ = [
    "Evaluation",
    "MapReport",
    "Model",
    "TrainConfig",
    "annotate",
    "append",
    "denoise",
    "discover",
    "embed",
    "evaluate",
    "export_weights",
    "import_weights",
    "ism",
    "load_model",
    "map_cells",
    "match",
    "motif_activity",
    "preprocess",
    "train",
    "variants",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    function = _RENAMED.get(name, name)
    if function not in _HOMES:
        raise AttributeError(f"module 'atlasbasset' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[function]), function)
    globals()[name] = value
    return value
