"""What the numba kernels compute with: elementary functions and a product, made for vector units.

The functions are branch-free float32, so that loops calling them vectorise; they keep NaN. The
product holds a block of its result in vector registers, as long as the CPU has them. Functions
here are compiled into their callers: numba's cache on disk does not see a change in this file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

__all__ = [
    "BLOCK_COLUMNS",
    "BLOCK_ROWS",
    "bits_of_float",
    "exp",
    "float_of_bits",
    "log1p",
    "multiply",
]

_LOG2E = np.float32(1.0 / math.log(2.0))
_LN2_HIGH = np.float32(0.693359375)  # exact in few bits, so n * _LN2_HIGH is exact
_LN2_LOW = np.float32(math.log(2.0) - 0.693359375)
_ROUND = np.float32(12582912.0)  # 1.5 * 2**23: adding it rounds to the nearest integer
_CLIP = np.float32(87.0)  # exp stays finite and normal
_ONE = np.float32(1.0)
_LOG1P = tuple(
    np.float32(c)
    for c in Chebyshev.interpolate(lambda x: np.log1p(x) / x, 9, domain=[0, 1])
    .convert(kind=Polynomial)
    .coef[::-1]
)
"""log(1 + x) / x on [0, 1], the highest power first."""

_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
_LANES, _VECTORS = (16 if _WIDE else 8), 2
BLOCK_ROWS = 8 if _WIDE else 4
"""With `BLOCK_COLUMNS` as many sums as fill the registers of AVX-512, else of AVX2."""
BLOCK_COLUMNS = _LANES * _VECTORS


@intrinsic
def float_of_bits(_context: Any, _bits: Any) -> Any:
    """Return the float32 of these 32 bits."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.uint32), codegen


@intrinsic
def bits_of_float(_context: Any, _value: Any) -> Any:
    """Return the 32 bits of this float32."""

    def codegen(_ctx: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.uint32(types.float32), codegen


@njit(inline="always")
def exp(x: Any) -> Any:
    """Return e^x in float32, x clipped to +-87; relative error below 3e-7."""
    t = _CLIP if x > _CLIP else x
    t = -_CLIP if t < -_CLIP else t
    n = (t * _LOG2E + _ROUND) - _ROUND
    r = (t - n * _LN2_HIGH) - n * _LN2_LOW
    p = np.float32(1.0 / 720.0)
    p = p * r + np.float32(1.0 / 120.0)
    p = p * r + np.float32(1.0 / 24.0)
    p = p * r + np.float32(1.0 / 6.0)
    p = p * r + np.float32(0.5)
    p = p * r + _ONE
    p = p * r + _ONE
    power = float_of_bits(np.uint32((np.int32(n) + np.int32(127)) << np.int32(23)))
    return p * power


@njit(inline="always")
def log1p(x: Any) -> Any:
    """Return log(1 + x) in float32 for x in [0, 1]; relative error below 2e-7."""
    p = np.float32(0.0)
    for c in _LOG1P:
        p = p * x + c
    return p * x


@intrinsic
def _multiply_block(_context: Any, out: Any, left: Any, right: Any, add: Any) -> Any:
    """Compile ``out = left @ right + (out if add else 0)`` for one block of `out`.

    Float32 views: out (BLOCK_ROWS, BLOCK_COLUMNS), left (BLOCK_ROWS, K), right (K, BLOCK_COLUMNS);
    the columns of `out` and `right` are next to one another.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _BlockCode(context, builder, signature.args[:3], args[:3]).write(args[3])
        return context.get_dummy_value()

    return types.void(out, left, right, add), codegen


class _BlockCode:
    """The LLVM code of one block: sums in registers, one row of `right` after another."""

    def __init__(self, context: Any, builder: Any, kinds: Any, args: Any) -> None:
        self.builder = builder
        self.vector = ir.VectorType(ir.FloatType(), _LANES)
        self.out, self.left, self.right = (
            context.make_array(kind)(context, builder, arg)
            for kind, arg in zip(kinds, args, strict=True)
        )

    def write(self, add: Any) -> None:
        builder, nothing = self.builder, ir.Constant(self.vector, [0.0] * _LANES)
        sums = {}
        for r in range(BLOCK_ROWS):
            for v in range(_VECTORS):
                sums[r, v] = cgutils.alloca_once(builder, self.vector)
                before = builder.load(self._row(self.out, r, v), align=4)
                builder.store(builder.select(add, before, nothing), sums[r, v])
        depth = cgutils.unpack_tuple(builder, self.right.shape)[0]
        with cgutils.for_range(builder, depth) as loop:
            self._add_products(sums, loop.index)
        for (r, v), total in sums.items():
            builder.store(builder.load(total), self._row(self.out, r, v), align=4)

    def _add_products(self, sums: Any, k: Any) -> None:
        builder, fuse = self.builder, ("contract",)  # a product and its sum: one instruction
        row = [builder.load(self._row(self.right, k, v), align=4) for v in range(_VECTORS)]
        for r in range(BLOCK_ROWS):
            factor = self._spread(builder.load(self._at(self.left, r, k, ir.FloatType())))
            for v in range(_VECTORS):
                product = builder.fmul(factor, row[v], flags=fuse)
                total = builder.fadd(builder.load(sums[r, v]), product, flags=fuse)
                builder.store(total, sums[r, v])

    def _spread(self, value: Any) -> Any:
        index = ir.IntType(32)
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, index(0))
        zeros = ir.Constant(ir.VectorType(index, _LANES), [0] * _LANES)
        return self.builder.shuffle_vector(one, one, zeros)

    def _row(self, array: Any, row: Any, vector: int) -> Any:
        return self._at(array, row, vector * _LANES, self.vector)

    def _at(self, array: Any, row: Any, column: Any, kind: Any) -> Any:
        builder, index = self.builder, ir.IntType(64)
        place = (index(i) if isinstance(i, int) else i for i in (row, column))
        steps = cgutils.unpack_tuple(builder, array.strides)
        offset = builder.add(*(builder.mul(i, s) for i, s in zip(place, steps, strict=True)))
        start = builder.bitcast(array.data, ir.IntType(8).as_pointer())
        return builder.bitcast(builder.gep(start, [offset]), kind.as_pointer())


@njit
def multiply(out: Any, left: Any, right: Any, add: Any) -> None:
    """``out = left @ right``, or with `add` ``out += left @ right``; float32.

    Sizes of `out` are multiples of `BLOCK_ROWS` and `BLOCK_COLUMNS`; the columns of `out` and
    `right` are next to one another. Each sum is taken in order, so its bits do not depend on where
    in `out` it stands.
    """
    for i in range(0, out.shape[0], BLOCK_ROWS):
        rows = slice(i, i + BLOCK_ROWS)
        for j in range(0, out.shape[1], BLOCK_COLUMNS):
            columns = slice(j, j + BLOCK_COLUMNS)
            _multiply_block(out[rows, columns], left[rows], right[:, columns], add)
