"""The model and the engine: train, embed, evaluate, denoise.

Names are imported when first used, so that ``import atlasbasset`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasbasset.engine.config import TrainConfig as TrainConfig
    from atlasbasset.model import Model as Model
    from atlasbasset.model import load_model as load_model
    from atlasbasset.verbs.denoise import denoise as denoise
    from atlasbasset.verbs.embed import embed as embed
    from atlasbasset.verbs.evaluate import Evaluation as Evaluation
    from atlasbasset.verbs.evaluate import evaluate as evaluate
    from atlasbasset.verbs.map_cells import MapReport as MapReport
    from atlasbasset.verbs.map_cells import map_cells as map_cells
    from atlasbasset.verbs.train import train as train
    from atlasbasset.verbs.weights import export_weights as export_weights
    from atlasbasset.verbs.weights import import_weights as import_weights

_HOMES = {
    "Evaluation": "atlasbasset.verbs.evaluate",
    "MapReport": "atlasbasset.verbs.map_cells",
    "Model": "atlasbasset.model",
    "TrainConfig": "atlasbasset.engine.config",
    "denoise": "atlasbasset.verbs.denoise",
    "embed": "atlasbasset.verbs.embed",
    "evaluate": "atlasbasset.verbs.evaluate",
    "export_weights": "atlasbasset.verbs.weights",
    "import_weights": "atlasbasset.verbs.weights",
    "load_model": "atlasbasset.model",
    "map_cells": "atlasbasset.verbs.map_cells",
    "train": "atlasbasset.verbs.train",
}
_RENAMED = {"map": "map_cells"}
"""The verb's own name -> the function's: in ``__all__`` it would hide Python's ``map``."""

__all__ = [
    "Evaluation",
    "MapReport",
    "Model",
    "TrainConfig",
    "denoise",
    "embed",
    "evaluate",
    "export_weights",
    "import_weights",
    "load_model",
    "map_cells",
    "train",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    function = _RENAMED.get(name, name)
    if function not in _HOMES:
        raise AttributeError(f"module 'atlasbasset' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[function]), function)
    globals()[name] = value
    return value
