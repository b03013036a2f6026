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
    from atlasbasset.verbs.train import train as train
    from atlasbasset.verbs.weights import export_weights as export_weights
    from atlasbasset.verbs.weights import import_weights as import_weights

_HOMES = {
    "Evaluation": "atlasbasset.verbs.evaluate",
    "Model": "atlasbasset.model",
    "TrainConfig": "atlasbasset.engine.config",
    "denoise": "atlasbasset.verbs.denoise",
    "embed": "atlasbasset.verbs.embed",
    "evaluate": "atlasbasset.verbs.evaluate",
    "export_weights": "atlasbasset.verbs.weights",
    "import_weights": "atlasbasset.verbs.weights",
    "load_model": "atlasbasset.model",
    "train": "atlasbasset.verbs.train",
}

__all__ = [
    "Evaluation",
    "Model",
    "TrainConfig",
    "denoise",
    "embed",
    "evaluate",
    "export_weights",
    "import_weights",
    "load_model",
    "train",
]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'atlasbasset' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
