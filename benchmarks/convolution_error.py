"""How far float32 convolutions are from float64: direct ones, minimal ones, and sets of points.

One tower layer (288 to 288 channels) and the whole trunk in training mode, published sizes, random
weights and sequences; root mean square over that of the truth.

    python benchmarks/convolution_error.py
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import harness
import torch
import torch.nn.functional as F

from atlasbasset.core.activation import activate
from atlasbasset.core.config import TrunkConfig
from atlasbasset.core.minimal import transforms
from atlasbasset.core.trunk import Trunk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from atlasbasset.core.compute import Convolution

BATCH, LENGTH, CHANNELS = 4, 448, 288
POINTS = {
    "F(2,5): 0 1 -1 1/2 -2": 2,
    "F(3,5): 0 1 -1 1/2 -2 2": 3,
    "F(4,5): 0 1 -1 2 -2 1/2 -1/2": 4,
    "F(4,5): 0 1 -1 3/2 -3/2 1/2 -1/2": 4,
    "F(4,5): 0 1 -1 2 -1/2 -1/4 4": 4,
    "F(6,5): 0 1 -1 2 -2 1/2 -1/2 3/2 -3/2": 6,
}


def rms(found: Tensor, truth: Tensor) -> float:
    """Return the root mean square of the error, over that of the truth."""
    return float(((found.double() - truth).square().mean() / truth.square().mean()).sqrt())


def direct(x: Tensor, weight_KCF: Tensor, grad: Tensor) -> list[Tensor]:
    """Return outputs and both gradients by torch's convolution."""
    x, weight = x.clone().requires_grad_(), weight_KCF.clone().requires_grad_()
    y = F.conv1d(x.transpose(1, 2), weight.permute(2, 1, 0), padding=2).transpose(1, 2)
    y.backward(grad)
    return [y.detach(), *(v.grad for v in (x, weight) if v.grad is not None)]


def by_points(
    x: Tensor, weight_KCF: Tensor, grad: Tensor, points: list[Fraction], outputs: int
) -> list[Tensor]:
    """Return the same by minimal filtering, written plainly in float32; autograd is the adjoint."""
    inputs, kernel, values = (torch.from_numpy(m).float() for m in transforms(points, outputs))
    x, weight = x.clone().requires_grad_(), weight_KCF.clone().requires_grad_()
    n_tiles = -(-x.shape[1] // outputs)
    padded = F.pad(x, (0, 0, 2, 2 + n_tiles * outputs - x.shape[1]))
    tiles = padded.unfold(1, outputs + 4, outputs)  # (B, T, C, rows)
    at = torch.einsum("pk,btck->pbtc", inputs, tiles).flatten(1, 2)
    weights = torch.einsum("pk,kcf->pcf", kernel, weight)
    products = torch.bmm(at, weights).unflatten(1, (-1, n_tiles))
    y = torch.einsum("jp,pbtf->btjf", values, products).flatten(1, 2)[:, : x.shape[1]]
    y.backward(grad)
    return [y.detach(), *(v.grad for v in (x, weight) if v.grad is not None)]


def layer_errors() -> Iterator[tuple[str, str, float]]:
    """Yield provider, quantity and error of one tower layer."""
    drawn = torch.Generator().manual_seed(0)
    x = activate(torch.randn(BATCH, LENGTH, CHANNELS, generator=drawn))
    weight = torch.randn(5, CHANNELS, CHANNELS, generator=drawn) / (2.5 * CHANNELS) ** 0.5
    given = x, weight, torch.randn(BATCH, LENGTH, CHANNELS, generator=drawn)
    truth = direct(*(v.double() for v in given))
    found = {"direct": direct(*given)}
    for name, outputs in POINTS.items():
        points = [Fraction(p) for p in name.split(": ")[1].split()]
        found[name] = by_points(*given, points, outputs)
    for provider, values in found.items():
        for quantity, ours, exact in zip(("y", "dx", "dw"), values, truth, strict=True):
            yield provider, f"layer {quantity}", rms(ours, exact)


def trunk_values(dtype: torch.dtype, convolution: Convolution) -> Mapping[str, Tensor]:
    """Return h and every gradient of one training pass."""
    drawn, config = torch.Generator().manual_seed(0), TrunkConfig()
    trunk = Trunk.initialised(config, seed=0).to(dtype)
    trunk.convolution = convolution
    x = F.one_hot(torch.randint(0, 4, (16, config.window_bp), generator=drawn), 4).to(dtype)
    h = trunk(x, compute_dtype=dtype)
    h.backward(torch.randn(h.shape, generator=drawn).to(dtype))
    gradients = {f"d {n}": p.grad for n, p in trunk.named_parameters() if p.grad is not None}
    return {"h": h.detach(), **gradients}


def trunk_errors() -> Iterator[tuple[str, str, float]]:
    """Yield provider, quantity and error of the whole trunk."""
    truth = trunk_values(torch.float64, "direct")
    kinds: tuple[Convolution, ...] = ("direct", "minimal")
    for kind in kinds:
        for quantity, value in trunk_values(torch.float32, kind).items():
            yield kind, f"trunk {quantity}", rms(value, truth[quantity])


def main() -> None:
    """Measure and append rows to results/convolution_error.csv."""
    rows = [
        harness.row("convolution_error", provider, quantity, "relative rms", 0, [error])
        for errors in (layer_errors(), trunk_errors())
        for provider, quantity, error in errors
    ]
    harness.append("convolution_error", rows)


if __name__ == "__main__":
    main()
