"""Precision of the convolutions: the requested one, and what the processor supports."""

from __future__ import annotations

from typing import Literal

import torch

__all__ = ["Compute", "Convolution", "ConvolutionChoice", "compute_dtype_for"]

Compute = Literal["auto", "bf16", "fp32"]
"""float32, or bfloat16 operands with float32 sums; "auto" is bf16 where the hardware has it."""

Convolution = Literal["direct", "minimal"]
"""How float32 convolutions are computed on CPU: as sums of products, or with fewer
multiplications (`minimal`), which is faster and rounds about 4 times as much."""

ConvolutionChoice = Literal["auto", "direct", "minimal"]
"""A `Convolution`, or the one that is faster on this machine."""


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
    limited = torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2")  # by the environment
    return bool(torch.cpu._is_avx512_bf16_supported()) and not limited
