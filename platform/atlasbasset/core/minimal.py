"""Convolutions with fewer multiplications: minimal filtering (Toom-Cook) in float32 on CPU.

A tile of `outputs` neighbouring outputs of a width-5 convolution is a product of two polynomials
modulo one of degree 8, so 8 multiplications make 4 outputs where the sum of products takes 20
(docs/performance.md). Tiles and weights are mapped to their values at 8 points, each point is one
matrix product over channels, and the products are mapped back. The gradients are the adjoint maps
around two more matrix products a point.

Among sets of small points these had the least error (benchmarks/convolution_error.py): rms about 4
times that of direct float32 convolution. More outputs a tile, for instance 6, have 17 times.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from atlasbasset.core import _tiles_cpu
from atlasbasset.core.convolution import MINIMAL_WIDTH, padded_channels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["OUTPUTS", "WIDTH", "MinimalConvolution", "Transforms", "transforms"]

WIDTH, OUTPUTS = MINIMAL_WIDTH, 4
"""Width of the convolutions, and outputs of a tile."""
_POINTS = tuple(Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2"))
"""Beside infinity."""
_LEAD = WIDTH // 2


class Transforms(NamedTuple):
    """Matrices of ``outputs = to_outputs @ ((of_weight @ w) * (of_inputs @ x))``, float64."""

    of_inputs: NDArray[np.float64]
    """(points, outputs + width - 1)."""
    of_weight: NDArray[np.float64]
    """(points, width)."""
    to_outputs: NDArray[np.float64]
    """(outputs, points)."""


def transforms(points: Sequence[Fraction], outputs: int) -> Transforms:
    """Return the exact maps for some points and the one at infinity.

    The width is ``len(points) + 2 - outputs``.
    """
    width = len(points) + 2 - outputs
    others = [[q for q in points if q != p] for p in points]
    scale = [1 / _product(p - q for q in rest) for p, rest in zip(points, others, strict=True)]
    of_inputs = [[*_polynomial(rest), Fraction(0)] for rest in others] + [_polynomial(points)]
    of_weight = [[s * v for v in _powers(p, width)] for p, s in zip(points, scale, strict=True)]
    at = [_powers(p, outputs) for p in points]
    last = [[Fraction(int(j == n - 1)) for j in range(n)] for n in (width, outputs)]
    exact = of_inputs, [*of_weight, last[0]], [*at, last[1]]
    inputs, weight, values = (np.array(rows, np.float64) for rows in exact)
    return Transforms(inputs, weight, values.T)


def _powers(point: Fraction, count: int) -> list[Fraction]:
    return [point**j for j in range(count)]


def _product(values: Iterable[Fraction]) -> Fraction:
    return math.prod(values, start=Fraction(1))


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Return the coefficients of ``prod (x - root)``, the constant first."""
    found = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *found]
        found = [a - root * b for a, b in zip(shifted, [*found, Fraction(0)], strict=True)]
    return found


class _Maps(NamedTuple):
    """`transforms` of the points in use and their adjoints; of weights float64, else float32."""

    of_inputs: NDArray[np.float32]
    of_weight: NDArray[np.float64]
    to_weight: NDArray[np.float64]
    to_outputs: NDArray[np.float32]
    of_grad: NDArray[np.float32]
    to_grad: NDArray[np.float32]


@cache
def _maps() -> _Maps:
    inputs, weight, outputs = transforms(_POINTS, OUTPUTS)
    arrays = (np.ascontiguousarray(v, np.float32) for v in (inputs, outputs, outputs.T, inputs.T))
    of_inputs, to_outputs, of_grad, to_grad = arrays
    to_weight = np.ascontiguousarray(weight.T)
    return _Maps(of_inputs, weight, to_weight, to_outputs, of_grad, to_grad)


class MinimalConvolution:
    """A width-5 convolution of float32 sequences, part by part; with "same" padding.

    Parameters
    ----------
    weight_FCK
        float32 (F, C, 5), as it is stored.
    channels
        Of the inputs, at least C; those of the outputs are F and what pads them.
    """

    def __init__(self, weight_FCK: Tensor, channels: int) -> None:
        self._weight, self._channels = weight_FCK.detach(), channels
        self._points = self._at_points(self._weight)
        self._points_grad: Tensor | None = None

    def outputs(self, x_BLC: Tensor, out_BLF: Tensor) -> None:
        """Write the outputs of some sequences."""
        products = torch.bmm(self._of_inputs(x_BLC), self._points)
        _from_points(products, _maps().to_outputs, 0, out_BLF)

    def spread(self, x_BLC: Tensor) -> Tensor:
        """Return what inputs do to all outputs that they reach, (B, L + 4, F).

        The adjoint map with the weight turned round: a tile is 4 inputs, which reach 8 outputs, so
        that few changed inputs take fewer products than the outputs that they reach.
        """
        batch, length = len(x_BLC), x_BLC.shape[1]
        points = _to_points(x_BLC, _maps().of_grad, 0, length)
        out = x_BLC.new_empty(batch, length + WIDTH - 1, self._points.shape[2])
        _from_points(torch.bmm(points, self._turned), _maps().to_grad, 0, out)
        return out

    def with_change(
        self,
        kept_BLF: Tensor,
        change_MLC: Tensor,
        places: tuple[Tensor, Tensor, Tensor],
        size: int,
    ) -> Tensor:
        """Return stretches of `kept` outputs after changes of the inputs, (M, size, F).

        `places` (M,) each: which sequence, where its stretch begins, and where in the stretch the
        outputs begin that the change reaches.
        """
        rows, firsts, offsets = (v.numpy() for v in places)
        added = self.spread(change_MLC)
        out = added.new_empty(len(added), size, added.shape[2])
        spread = added.numpy(), offsets
        _tiles_cpu.add_at(kept_BLF.numpy(), rows, firsts, *spread, out=out.numpy())
        return out

    @cached_property
    def _turned(self) -> Tensor:
        return self._at_points(self._weight.flip(2))

    def _at_points(self, weight_FCK: Tensor) -> Tensor:
        matrix, filters = _maps().of_weight, padded_channels(len(weight_FCK), weight_FCK.dtype)
        out = weight_FCK.new_empty(len(matrix), self._channels, filters)
        _tiles_cpu.weight_points(matrix, weight_FCK.numpy(), out=out.numpy())
        return out

    def inner_outputs(self, x_BLC: Tensor) -> Tensor:
        """Return the outputs that need no padding, (B, L - 4, F)."""
        batch, length = len(x_BLC), x_BLC.shape[1] - WIDTH + 1
        points = _to_points(x_BLC, _maps().of_inputs, 0, length)
        out = x_BLC.new_empty(batch, length, self._points.shape[2])
        _from_points(torch.bmm(points, self._points), _maps().to_outputs, 0, out)
        return out

    def add_gradients(self, x_BLC: Tensor, grad_BLF: Tensor, grad_x_BLC: Tensor | None) -> None:
        """Add to the weight's gradient; write the input's where it is wanted."""
        grad = _to_points(grad_BLF, _maps().of_grad, 0, grad_BLF.shape[1])
        factors = self._of_inputs(x_BLC).transpose(1, 2), grad
        if self._points_grad is None:
            self._points_grad = torch.bmm(*factors)
        else:
            self._points_grad.baddbmm_(*factors)
        if grad_x_BLC is not None:
            products = torch.bmm(grad, self._points.transpose(1, 2))
            _from_points(products, _maps().to_grad, _LEAD, grad_x_BLC)

    def weight_grad(self) -> Tensor:
        """Return the sum over all parts, float32 (F, C, 5), and begin another."""
        found, self._points_grad = self._points_grad, None
        grad = torch.zeros_like(self._weight)
        if found is not None:
            _tiles_cpu.points_weight(_maps().to_weight, found.numpy(), out=grad.numpy())
        return grad

    @staticmethod
    def _of_inputs(x_BLC: Tensor) -> Tensor:
        return _to_points(x_BLC, _maps().of_inputs, _LEAD, x_BLC.shape[1])


def _to_points(x_BLC: Tensor, matrix: NDArray[np.float32], lead: int, outputs: int) -> Tensor:
    batch, _, channels = x_BLC.shape
    points = x_BLC.new_empty(len(matrix), batch * -(-outputs // OUTPUTS), channels)
    _tiles_cpu.to_points(x_BLC.numpy(), matrix, step=OUTPUTS, lead=lead, out=points.numpy())
    return points


def _from_points(points: Tensor, matrix: NDArray[np.float32], lead: int, out_BLC: Tensor) -> None:
    _tiles_cpu.from_points(points.numpy(), matrix, step=OUTPUTS, lead=lead, out=out_BLC.numpy())
