"""What the hand-made product of `core/_vector_math.py` buys, on the tiles of the loss's CPU pass.

Three products of a step of 128 peaks and 64 cells with 32 numbers each, one thread: ours, the math
library's as numba calls it, and plain loops that numba compiles (with the same freedom to fuse a
product and its sum). Rows: GFLOP/s.

    python benchmarks/tile_products.py [--repeats 200]
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
from numba import njit

from atlasbasset.core._vector_math import multiply

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES = {"logits": (64, 33, 128), "to cells": (64, 128, 32), "to peaks": (128, 64, 32)}
"""Rows, summed, columns."""
CALLS = 200
"""Of a product, for one figure."""


@njit
def ours(n: int, out: Any, left: Any, right: Any) -> None:
    for _ in range(n):
        multiply(out, left, right, False)  # noqa: FBT003


@njit
def library(n: int, out: Any, left: Any, right: Any) -> None:
    for _ in range(n):
        np.dot(left, right, out)


@njit(fastmath={"contract"})
def loops(n: int, out: Any, left: Any, right: Any) -> None:
    for _ in range(n):
        out[:] = 0
        for i in range(out.shape[0]):
            for k in range(left.shape[1]):
                factor = left[i, k]
                for j in range(out.shape[1]):
                    out[i, j] += factor * right[k, j]


def calls(shape: tuple[int, int, int]) -> dict[str, Callable[[], None]]:
    """Return what is measured at one shape."""
    rng, (rows, depth, columns) = np.random.default_rng(0), shape
    left = rng.normal(size=(rows, depth)).astype(np.float32)
    right = rng.normal(size=(depth, columns)).astype(np.float32)
    out = np.empty((rows, columns), np.float32)

    def call(product: Callable[..., None]) -> Callable[[], None]:
        return lambda: product(CALLS, out, left, right)

    return {"ours": call(ours), "math library": call(library), "plain loops": call(loops)}


def main() -> None:
    """Measure and append rows to results/tile_products.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200)
    args = parser.parse_args()
    for name, shape in SHAPES.items():
        seconds = harness.take_turns(calls(shape), repeats=args.repeats, warm_up=5)
        flops = 2e-9 * CALLS * np.prod(shape)
        rows = [
            harness.row(
                "tile_products", provider, name, "GFLOP/s", shape[1],
                [flops / s for s in found], shape=shape, repeats=args.repeats,
            )
            for provider, found in seconds.items()
        ]  # fmt: skip
        harness.append("tile_products", rows)


if __name__ == "__main__":
    main()
