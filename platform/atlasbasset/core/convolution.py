"""Length-major convolutions: (B, L, C) in, (B, L, F) out, "same" padding, no bias.

Weights keep the published shape (F, C, K). Channels are padded to multiples that suit the
matrix units only inside a step; stored weights are not padded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["channel_multiple", "convolve", "convolve_bases", "pad_channels"]

MINIMAL_WIDTH = 5
"""Width of the convolutions that minimal filtering (`minimal`) is for."""
_PATCH_MULTIPLE = 32


def channel_multiple(dtype: torch.dtype) -> int:
    """Return what channel counts are padded to: 32 fills a bfloat16 matrix tile, float32 needs 16.

    Reference arithmetic (float64) is left as it is.
    """
    return {torch.bfloat16: 32, torch.float16: 32, torch.float32: 16}.get(dtype, 1)


def padded_channels(count: int, dtype: torch.dtype) -> int:
    """Return the multiple of `channel_multiple` that holds `count` channels."""
    return count + -count % channel_multiple(dtype)


def pad_channels(values: Tensor, multiple: int, *, dim: int = 0) -> Tensor:
    """Append zeros along `dim` until its size is a multiple of `multiple`."""
    missing = -values.shape[dim] % multiple
    if not missing:
        return values
    after = values.dim() - 1 - dim % values.dim()
    return F.pad(values, [0, 0] * after + [0, missing])


def convolve(x_BLC: Tensor, weight_FCK: Tensor) -> Tensor:
    """Convolve a length-major batch; returns (B, L, F), F padded as `channel_multiple` says.

    `x_BLC` carries its channels padded already (the output of the layer before); `weight_FCK` is
    the stored float32 weight.
    """
    multiple = channel_multiple(x_BLC.dtype)
    weight = pad_channels(weight_FCK, multiple).to(x_BLC.dtype)
    weight = F.pad(weight, (0, 0, 0, x_BLC.shape[2] - weight.shape[1]))
    # (B, C, 1, L) with channels innermost is what the length-major layout already is in memory
    x_BC1L = x_BLC.unsqueeze(1).permute(0, 3, 1, 2)
    weight_FC1K = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    y_BF1L = F.conv2d(x_BC1L, weight_FC1K, padding=(0, weight.shape[2] // 2))
    return y_BF1L.permute(0, 2, 3, 1).squeeze(1).contiguous()


def laid_out(weight_FCK: Tensor, channels: int) -> Tensor:
    """Return the stored weight as (K, C, F), channels next to one another, C and F padded."""
    weight = pad_channels(weight_FCK, channel_multiple(weight_FCK.dtype))
    return pad_channels(weight, channels, dim=1).permute(2, 1, 0).contiguous()


def convolve_bases(x_BL4: Tensor, weight_F4K: Tensor) -> Tensor:
    """Convolve the four-channel input as one matrix product over (position, base) patches.

    With four channels a direct convolution wastes most of a matrix tile; overlapping rows of
    4 K values, copied once, fill it. `x_BL4` gets no gradient through this.
    """
    batch, length, bases = x_BL4.shape
    weight = laid_out(weight_F4K.to(x_BL4.dtype), bases)
    flat = pad_channels(weight.flatten(0, 1), _PATCH_MULTIPLE)
    patches = _patches(x_BL4.detach(), weight.shape[0], flat.shape[0])
    return (patches @ flat).view(batch, length, flat.shape[1])


class PatchConvolution:
    """`convolve_bases` of a batch that is seen part by part (`stage_parts`).

    Parameters
    ----------
    weight_F4K
        As it is stored.
    channels
        Of the inputs, 4.
    """

    def __init__(self, weight_F4K: Tensor, channels: int) -> None:
        laid = laid_out(weight_F4K.detach(), channels)
        self._stored, self._weight = weight_F4K.shape, laid.flatten(0, 1)
        self._grad = torch.zeros_like(laid)

    def outputs(self, x_BL4: Tensor, out_BLF: Tensor) -> None:
        """Write the outputs of some sequences."""
        torch.mm(self._patches(x_BL4), self._weight, out=out_BLF.flatten(0, 1))

    def add_gradients(self, x_BL4: Tensor, grad_BLF: Tensor, grad_x_BL4: Tensor | None) -> None:
        """Add to the weight's gradient; the input's is zero."""
        if grad_x_BL4 is not None:
            grad_x_BL4.zero_()
        self._grad.flatten(0, 1).addmm_(self._patches(x_BL4).T, grad_BLF.flatten(0, 1))

    def weight_grad(self) -> Tensor:
        """Return the sum over all parts, of the weight's shape, and begin another."""
        found, self._grad = self._grad, torch.zeros_like(self._grad)
        return found.permute(2, 1, 0)[: self._stored[0]].contiguous()

    def _patches(self, x_BL4: Tensor) -> Tensor:
        return _patches(x_BL4, len(self._grad), len(self._weight))


def _patches(x_BL4: Tensor, width: int, size: int) -> Tensor:
    """Return each position's `width` neighbours and what follows them, (B * L, size)."""
    batch, length, bases = x_BL4.shape
    extra = -(-size // bases) - width  # rows past the end read zeros, times zero weights
    x = F.pad(x_BL4, (0, 0, width // 2, width // 2 + extra)).contiguous()
    return x.as_strided((batch, length, size), (x.stride(0), bases, 1)).reshape(-1, size)
