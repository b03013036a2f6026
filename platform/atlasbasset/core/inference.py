"""Embedding sequences with a trained trunk, in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from atlasbasset.core.augment import central_codes, one_hot_input
from atlasbasset.core.cost import pass_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.core.trunk import Trunk

__all__ = ["EMBED_BATCH", "embed_codes", "embedding_bytes"]

EMBED_BATCH = 256
"""Sequences that are embedded at once."""


@torch.no_grad()
def embed_codes(
    trunk: Trunk,
    codes: Tensor,
    *,
    compute_dtype: torch.dtype = torch.float32,
    batch: int = EMBED_BATCH,
) -> Tensor:
    """Embed stored codes (P, L + 2 flank) without augmentation.

    Parameters
    ----------
    trunk
        Left in the mode it was in.
    codes
        uint8, 0..4; the central window is used.
    compute_dtype
        Of the convolutions; float32 by default, the published models' arithmetic.
    batch
        Sequences at once: about 1.2 MB of working memory each.

    Returns
    -------
    Tensor
        float32 (P, E).
    """
    training = trunk.training
    trunk.eval()
    try:
        parts = [
            trunk(_input(trunk, part, compute_dtype), compute_dtype=compute_dtype)
            for part in codes.split(batch)
        ]
    finally:
        trunk.train(training)
    return torch.cat(parts) if parts else torch.empty(0, trunk.config.embedding_dim)


def embedding_bytes(config: TrunkConfig, n_sequences: int) -> int:
    """Return what `embed_codes` holds at most in addition to codes and trunk, in float32, bytes."""
    return min(n_sequences, EMBED_BATCH) * pass_bytes(config)


def _input(trunk: Trunk, codes: Tensor, dtype: torch.dtype) -> Tensor:
    device = trunk.bottleneck.weight.device
    return one_hot_input(central_codes(codes.to(device), trunk.config.window_bp), dtype)
