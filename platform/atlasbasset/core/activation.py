"""The one activation of the model: ``act(x) = x * sigmoid(1.702 x)`` ("GELU" in the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["GAIN", "activate", "activation_slope"]

GAIN = 1.702


def activate(x: Tensor) -> Tensor:
    """Return ``x * sigmoid(1.702 x)``, in `x`'s shape and dtype (released code, ``GELU`` layer)."""
    return x * torch.sigmoid(GAIN * x)


def activation_slope(x: Tensor) -> Tensor:
    """Return the derivative of `activate` at `x`."""
    s = torch.sigmoid(GAIN * x)
    return s * (1 + GAIN * x * (1 - s))
