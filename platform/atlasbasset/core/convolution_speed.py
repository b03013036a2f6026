"""Which float32 convolution is faster on this CPU: a short measurement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, get_args

import torch

from atlasbasset.core.compute import Convolution
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.trunk import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["convolution_seconds"]

_SHAPE, _REPEATS = (16, 112, 288), 3
"""Input of the stage that is measured, (B, L, C): the published tower's second, a few sequences."""


def convolution_seconds() -> dict[Convolution, float]:
    """Return the seconds of a tower stage, forward and backward: the least of a few, in turn."""
    kinds: tuple[Convolution, ...] = get_args(Convolution)
    passes = {kind: _stage_pass(kind) for kind in kinds}
    for call in passes.values():  # compiles
        call()
    rounds = [{kind: _seconds(call) for kind, call in passes.items()} for _ in range(_REPEATS)]
    return {kind: min(found[kind] for found in rounds) for kind in kinds}


def _seconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _stage_pass(convolution: Convolution) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    channels = _SHAPE[2]
    stage = Stage((channels, channels, 5), pool=2, config=TrunkConfig())
    torch.nn.init.normal_(stage.weight, std=0.04, generator=generator)
    x = torch.randn(_SHAPE, generator=generator).requires_grad_()

    def forward_and_backward() -> None:
        with torch.enable_grad():
            stage(x, convolution=convolution).sum().backward()

    return forward_and_backward
