"""How far a changed stretch of a sequence reaches, layer by layer: integers only.

A convolution of width K with "same" padding extends a change by K // 2 positions to either side,
and max-pooling by `pool` then widens it to whole windows. Positions past either end do not exist.
Outside the reach nothing changes, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Layer", "alike", "reached"]


@dataclass(frozen=True, slots=True)
class Layer:
    """Geometry of one convolution and the max-pool after it."""

    length: int
    """Positions of its input."""
    kernel: int
    """Width of the convolution, odd."""
    pool: int
    """Width of the max-pool; `length` is a multiple."""
    lead: int = 0
    """Positions before the input at which the first pooling window begins."""

    @property
    def reach(self) -> int:
        """Positions that the convolution looks to either side."""
        return self.kernel // 2

    @property
    def pooled(self) -> int:
        """Positions of its output."""
        return self.length // self.pool

    def inputs(self, first: int, count: int) -> tuple[int, int]:
        """Return the input positions [start, stop) that outputs [first, first + count) read.

        They may be `reach` + `lead` positions past either end, where the input is zero.
        """
        start = first * self.pool - self.lead
        return start - self.reach, start + count * self.pool + self.reach

    def outputs(
        self, first: NDArray[np.int64], count: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (first, count) of outputs that hold all that a change of inputs reaches.

        Near an end the stretch is moved inwards, not cut, so that most changes of one width stay
        alike; it then holds a few outputs that the change does not reach.
        """
        start = (first - self.reach + self.lead) // self.pool
        last = (first + count - 1 + self.reach + self.lead) // self.pool
        size = np.minimum(last - start + 1, self.pooled)
        return np.clip(start, 0, self.pooled - size), size


def reached(
    layers: Sequence[Layer], first: NDArray[np.int64], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Follow changes of `width` positions, beginning at `first` (M,), through all layers.

    Returns
    -------
    tuple
        First position and number of positions at the input (column 0) and after each layer, both
        int64 (M, n_layers + 1).
    """
    stretches = [(first, np.full_like(first, width))]
    for layer in layers:
        stretches.append(layer.outputs(*stretches[-1]))
    firsts, counts = zip(*stretches, strict=True)
    return np.stack(firsts, 1), np.stack(counts, 1)


def alike(counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of `counts` (M, n) in groups of equal rows, ascending within each group."""
    if not len(counts):
        return
    _, group = np.unique(counts, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
