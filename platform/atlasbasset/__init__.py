"""The model and the engine: train, embed, evaluate, denoise.

Names are imported when first used, so that ``import atlasbasset`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasbasset.engine.config import TrainConfig as TrainConfig
    from atlasbasset.verbs.train import train as train

_HOMES = {
    "TrainConfig": "atlasbasset.engine.config",
    "train": "atlasbasset.verbs.train",
}

__all__ = ["TrainConfig", "train"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'atlasbasset' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
