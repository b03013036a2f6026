"""Fused normalise + max-pool + activate on CPU: one pass over memory where torch needs four.

After a convolution, batch normalisation, max-pooling and the activation only move memory. Here each
pass reads the convolution's output once and writes only what the next step needs:

* `channel_sums`: sums and sums of squares per channel;
* `pool_activate`: affine, max over the window, activation;
* `pool_activate_grad`: the gradient at each window's maximum, with the two sums that the
  normalisation's own gradient needs;
* `spread_grad`: the dense gradient of the convolution's output.

Arrays are length-major (B, L, C). bfloat16 is passed as its bits in uint16 (numba has no bfloat16);
arithmetic is float32 throughout; sums are float32 within a range of rows and float64 across runs,
in an order that does not depend on the number of threads.
"""
# numba compiles these loops; plain index loops are what it vectorises best.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from atlasbasset.core._vector_math import bits_of_float, exp, float_of_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["channel_sums", "pool_activate", "pool_activate_grad", "spread_grad"]

_ROWS_PER_RUN = 512
_GAIN = np.float32(1.702)
_ONE = np.float32(1.0)


def _load(value: Any) -> Any:
    """Return a stored element as float32 (compiled for uint16 = bfloat16 bits, and float32)."""
    raise NotImplementedError("compiled only")


@overload(_load, inline="always")
def _load_impl(value: Any) -> Any:

    def from_bfloat16(value: Any) -> Any:
        return float_of_bits(np.uint32(value) << np.uint32(16))

    def from_float32(value: Any) -> Any:
        return value

    return from_bfloat16 if value == types.uint16 else from_float32


def _store(value: Any, like: Any) -> Any:
    """Return float32 `value` as an element of `like`'s type, rounded to nearest even."""
    raise NotImplementedError("compiled only")


@overload(_store, inline="always")
def _store_impl(value: Any, like: Any) -> Any:

    def to_float32(value: Any, like: Any) -> Any:
        return value

    def to_bfloat16(value: Any, like: Any) -> Any:
        bits = bits_of_float(value)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return to_bfloat16 if like == types.uint16 else to_float32


@njit(inline="always")
def _sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in float32, branch-free."""
    return _ONE / (_ONE + exp(-x))


@njit(parallel=True, cache=True)
def _run_sums(rows: Any) -> Any:
    n_rows, n_channels = rows.shape
    n_runs = (n_rows + _ROWS_PER_RUN - 1) // _ROWS_PER_RUN
    sums = np.zeros((n_runs, 2, n_channels), np.float32)
    for run in prange(n_runs):
        first = run * _ROWS_PER_RUN
        for i in range(first, min(first + _ROWS_PER_RUN, n_rows)):
            for c in range(n_channels):
                y = _load(rows[i, c])
                sums[run, 0, c] += y
                sums[run, 1, c] += y * y
    return sums


def channel_sums(y_BLC: NDArray[Any]) -> NDArray[np.float64]:
    """Return sums and sums of squares per channel, float64 (2, C)."""
    return np.asarray(_run_sums(_rows(y_BLC)).sum(axis=0, dtype=np.float64))


@njit(inline="always")
def _window_maximum(y: Any, first: int, pool: int, scale: Any, shift: Any, best: Any) -> None:
    """Best <- max over rows first..first + pool of (y * scale + shift), channel by channel."""
    row = y[first]
    for c in range(best.size):
        best[c] = _load(row[c]) * scale[c] + shift[c]
    for k in range(1, pool):
        row = y[first + k]
        for c in range(best.size):
            z = _load(row[c]) * scale[c] + shift[c]
            best[c] = z if z > best[c] else best[c]


@njit(parallel=True, cache=True)
def _pool_activate(y: Any, scale: Any, shift: Any, pool: int, out: Any) -> None:
    n_rows, n_channels = out.shape
    for run in prange((n_rows + _ROWS_PER_RUN - 1) // _ROWS_PER_RUN):
        best = np.empty(n_channels, np.float32)
        first = run * _ROWS_PER_RUN
        for i in range(first, min(first + _ROWS_PER_RUN, n_rows)):
            _window_maximum(y, i * pool, pool, scale, shift, best)
            row = out[i]
            for c in range(n_channels):
                row[c] = _store(best[c] * _sigmoid(_GAIN * best[c]), row[c])


def pool_activate(
    y_BLC: NDArray[Any], scale_C: NDArray[np.float32], shift_C: NDArray[np.float32], pool: int
) -> NDArray[Any]:
    """Return act(max over windows of (y * scale + shift)), shape (B, L // pool, C)."""
    batch, length, channels = y_BLC.shape
    out = np.empty((batch, length // pool, channels), y_BLC.dtype)
    _pool_activate(_rows(y_BLC), scale_C, shift_C, pool, _rows(out))
    return out


@njit(parallel=True, cache=True)
def _pool_activate_grad(y: Any, scale: Any, shift: Any, pool: int, grad: Any, out: Any) -> Any:
    n_rows, n_channels = grad.shape
    n_runs = (n_rows + _ROWS_PER_RUN - 1) // _ROWS_PER_RUN
    sums = np.zeros((n_runs, 2, n_channels), np.float32)
    for run in prange(n_runs):
        best = np.empty(n_channels, np.float32)
        offset_sum, gain_sum = sums[run, 0], sums[run, 1]
        first = run * _ROWS_PER_RUN
        for i in range(first, min(first + _ROWS_PER_RUN, n_rows)):
            _window_maximum(y, i * pool, pool, scale, shift, best)
            row, result = grad[i], out[i]
            for c in range(n_channels):
                s = _sigmoid(_GAIN * best[c])
                slope = s * (_ONE + _GAIN * best[c] * (_ONE - s))
                result[c] = _store(_load(row[c]) * slope, row[c])
            for c in range(n_channels):
                g = _load(result[c])
                offset_sum[c] += g
                gain_sum[c] += g * best[c]
    return sums


def pool_activate_grad(
    y_BLC: NDArray[Any],
    scale_C: NDArray[np.float32],
    shift_C: NDArray[np.float32],
    pool: int,
    grad_BJC: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the gradient at each window's maximum (B, J, C), and its sums, float64 (2, C).

    The sums over (B, J) are of the gradient, and of the gradient times the maximum z.
    """
    out = np.empty_like(grad_BJC)
    sums = _pool_activate_grad(_rows(y_BLC), scale_C, shift_C, pool, _rows(grad_BJC), _rows(out))
    return out, np.asarray(sums.sum(axis=0, dtype=np.float64))


@njit(parallel=True, cache=True)
def _spread_grad(
    y: Any, scale: Any, shift: Any, pool: int, grad: Any, constant: Any, slope: Any, out: Any
) -> None:
    n_rows, n_channels = grad.shape
    for run in prange((n_rows + _ROWS_PER_RUN - 1) // _ROWS_PER_RUN):
        best = np.empty(n_channels, np.float32)
        left = np.empty(n_channels, np.float32)
        first = run * _ROWS_PER_RUN
        for i in range(first, min(first + _ROWS_PER_RUN, n_rows)):
            _window_maximum(y, i * pool, pool, scale, shift, best)
            row = grad[i]
            for c in range(n_channels):
                left[c] = _load(row[c]) * scale[c]
            for k in range(pool):
                source, target = y[i * pool + k], out[i * pool + k]
                for c in range(n_channels):
                    value = _load(source[c])
                    # the first maximum takes all of the gradient, the ties after it none
                    hit = value * scale[c] + shift[c] >= best[c]
                    share = left[c] if hit else np.float32(0.0)
                    left[c] -= share
                    dense = constant[c] + slope[c] * value + share
                    target[c] = _store(dense, target[c])


def spread_grad(
    y_BLC: NDArray[Any],
    scale_C: NDArray[np.float32],
    shift_C: NDArray[np.float32],
    pool: int,
    grad_BJC: NDArray[Any],
    constant_C: NDArray[np.float32],
    slope_C: NDArray[np.float32],
) -> NDArray[Any]:
    """Return scale * (gradient at each maximum, else 0) + constant + slope * y, shape (B, L, C)."""
    out = np.empty_like(y_BLC)
    args = _rows(grad_BJC), constant_C, slope_C, _rows(out)
    _spread_grad(_rows(y_BLC), scale_C, shift_C, pool, *args)
    return out


def _rows(array_BLC: NDArray[Any]) -> NDArray[Any]:
    return array_BLC.reshape(-1, array_BLC.shape[-1])
