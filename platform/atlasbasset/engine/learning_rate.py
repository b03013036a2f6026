"""The learning rate of each step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlasbasset.engine.config import TrainConfig

__all__ = ["learning_rate"]


def learning_rate(config: TrainConfig, epoch: int, step: int, n_steps: int) -> float:
    """Return the rate of step `step` (from 0) of `n_steps` in epoch `epoch` (from 0).

    The cosine falls from ``config.learning_rate`` to 0 over ``config.epochs`` epochs
    (Loshchilov and Hutter 2017, without restarts).
    """
    if config.schedule == "constant":
        return config.learning_rate
    done = (epoch + step / n_steps) / config.epochs
    return config.learning_rate * (1 + math.cos(math.pi * min(done, 1.0))) / 2
