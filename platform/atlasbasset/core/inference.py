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

__all__ = ["compute_dtype_for", "embed_codes", "embedding_bytes"]

_BATCH = 256


def compute_dtype_for(compute: str, device: torch.device) -> torch.dtype:
    """Return the arithmetic that `compute` ("auto", "bf16", "fp32") means on `device`.

    "auto" is bfloat16 where the hardware multiplies it natively: any recent GPU, and CPUs with
    AVX512-BF16 or AMX.
    """
    if compute == "auto":
        compute = "bf16" if _has_bfloat16(device) else "fp32"
    return torch.bfloat16 if compute == "bf16" else torch.float32


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())


@torch.no_grad()
def embed_codes(
    trunk: Trunk, codes: Tensor, *, compute_dtype: torch.dtype = torch.float32, batch: int = _BATCH
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
    """Return what `embed_codes` holds at most beside codes and trunk, in float32, bytes."""
    return min(n_sequences, _BATCH) * pass_bytes(config)


def _input(trunk: Trunk, codes: Tensor, dtype: torch.dtype) -> Tensor:
    device = trunk.bottleneck.weight.device
    return one_hot_input(central_codes(codes.to(device), trunk.config.window_bp), dtype)
