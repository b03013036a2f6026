"""Which peaks each step sees and how they are augmented: a function of (seed, epoch, step) alone.

Every worker draws the same numbers for the whole batch and uses its own part, so results do not
depend on the number of workers, and a resumed epoch goes on exactly where it stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.engine.config import TrainConfig

__all__ = ["Draws", "epoch_steps", "n_steps", "step_draws"]

_ORDER, _AUGMENT = 0, 1  # streams of one seed


class Draws(NamedTuple):
    """A step's random numbers, one row per sequence of the whole batch."""

    shift: NDArray[np.int64]
    """(B,) window shift, bp."""
    reverse: NDArray[np.bool_]
    """(B,) whether to reverse-complement."""
    keep: NDArray[np.bool_]
    """(B, E) which bottleneck units survive dropout."""


def n_steps(n_peaks: int, batch_size: int) -> int:
    """Return the steps of an epoch."""
    return -(-n_peaks // batch_size)


def epoch_steps(
    peaks: NDArray[np.int64], config: TrainConfig, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the peak rows of every step: each peak once, sizes differing by one at most.

    Equal steps rather than full ones and a remainder: batch normalisation by a handful of peaks
    would be noise.
    """
    rng = np.random.default_rng([config.seed, _ORDER, epoch])
    return np.array_split(rng.permutation(peaks), n_steps(len(peaks), config.batch_size))


def step_draws(n_rows: int, config: TrainConfig, epoch: int, step: int) -> Draws:
    """Return the random numbers of one step of `n_rows` sequences."""
    rng = np.random.default_rng([config.seed, _AUGMENT, epoch, step])
    shift = rng.integers(-config.max_shift_bp, config.max_shift_bp, n_rows, endpoint=True)
    reverse = rng.random(n_rows) < 0.5
    if not config.reverse_complement:
        reverse[:] = False
    keep = rng.random((n_rows, config.trunk.embedding_dim)) >= config.trunk.dropout
    return Draws(shift, reverse, keep)
