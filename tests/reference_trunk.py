"""The trunk written plainly, channel-major, from the method's table: what ours is compared with.

PyTorch's own convolution, batch normalisation and pooling, one call each; nothing is shared with
the package. Weights are given under the package's names, because they are what is compared.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-3
STAGES = ("stem", *(f"tower.{i}" for i in range(6)), "prebottleneck")


class Forward(NamedTuple):
    """What a forward pass gives."""

    blocks: list[Tensor]
    """Each convolutional block's output, channel-major (B, C, L), not activated."""
    h: Tensor
    """(B, E)."""


def act(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def batch_norm(x: Tensor, weights: dict[str, Tensor], name: str, training: bool) -> Tensor:
    gamma, beta = weights[f"{name}.norm.gamma"], weights[f"{name}.norm.beta"]
    if training:
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=EPS)
    mean, var = weights[f"{name}.norm.running_mean"], weights[f"{name}.norm.running_var"]
    return F.batch_norm(x, mean, var, gamma, beta, training=False, eps=EPS)


def forward(
    weights: dict[str, Tensor], x_B4L: Tensor, *, training: bool, stem_pool_lead: int = 0
) -> Forward:
    """Each block: act, conv "same", batch norm, max-pool (3 after the stem, 2 in the tower)."""
    x, blocks = x_B4L, []
    for name in STAGES:
        x = F.conv1d(act(x), weights[f"{name}.weight"], padding="same")
        x = batch_norm(x, weights, name, training)
        if name == "stem":
            x = F.max_pool1d(x, 3, padding=stem_pool_lead)
        elif name != "prebottleneck":
            x = F.max_pool1d(x, 2)
        blocks.append(x)
    flat = act(x).transpose(1, 2).flatten(1)  # position-major, as Keras flattens (7, 256)
    h = act(batch_norm(flat @ weights["bottleneck.weight"].T, weights, "bottleneck", training))
    return Forward(blocks, h)
