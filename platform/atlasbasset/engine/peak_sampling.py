"""The peaks of each step and their augmentation: a function of (seed, epoch, step) only.

Every worker draws the same numbers for the whole batch and uses its own part, so results do not
depend on the number of workers, and a resumed epoch continues exactly where it stopped.

An epoch is a series of groups, a group a series of steps. With all labels in memory there is one
group. Streamed labels are read group by group: a group is a few ranges of neighbouring peaks,
sampled from the whole atlas, and peaks are shuffled within it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlasbasset.core.seeds import Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.engine.config import TrainConfig

__all__ = ["Draws", "Group", "epoch_groups", "step_draws"]

_RUN_PEAKS = 256
"""Neighbouring peaks read together: about a chunk of a full cell block's labels."""


class Draws(NamedTuple):
    """A step's random numbers, one row per sequence of the whole batch."""

    shift: NDArray[np.int64]
    """(B,) window shift, bp."""
    reverse: NDArray[np.bool_]
    """(B,) whether to reverse-complement."""
    keep: NDArray[np.bool_]
    """(B, E) which bottleneck units survive dropout."""


class Group(NamedTuple):
    """Peaks whose labels are needed together."""

    peaks: NDArray[np.int64]
    """Ascending."""
    steps: list[NDArray[np.int64]]
    """The same peaks, in the order and the steps in which they are used."""


def epoch_groups(peaks: NDArray[np.int64], config: TrainConfig, epoch: int) -> list[Group]:
    """Return an epoch: every peak once, steps of equal size (but for one) within a group.

    Equal steps rather than full ones and a remainder: batch normalisation by a handful of peaks
    would be noise.
    """
    rng = np.random.default_rng([config.seed, Stream.ORDER, epoch])
    groups = []
    for chosen in _chosen(peaks, config.group_peaks, rng):
        n_steps = -(-len(chosen) // config.batch_size)
        steps = np.array_split(rng.permutation(chosen), n_steps)
        groups.append(Group(np.sort(chosen), steps))
    return groups


def _chosen(
    peaks: NDArray[np.int64], group_peaks: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal the peaks out to groups of at most about `group_peaks` (0: one group)."""
    if group_peaks <= 0 or group_peaks >= len(peaks):
        return [peaks]
    n_groups = -(-len(peaks) // group_peaks)
    n_runs = max(n_groups, -(-len(peaks) // min(_RUN_PEAKS, group_peaks)))
    runs = np.array_split(peaks, n_runs)
    order = rng.permutation(n_runs)
    return [np.concatenate([runs[i] for i in part]) for part in np.array_split(order, n_groups)]


def step_draws(n_rows: int, config: TrainConfig, epoch: int, step: int) -> Draws:
    """Return the random numbers of one step of `n_rows` sequences."""
    rng = np.random.default_rng([config.seed, Stream.AUGMENT, epoch, step])
    shift = rng.integers(-config.max_shift_bp, config.max_shift_bp, n_rows, endpoint=True)
    reverse = rng.random(n_rows) < 0.5
    if not config.reverse_complement:
        reverse[:] = False
    keep = rng.random((n_rows, config.trunk.embedding_dim)) >= config.trunk.dropout
    return Draws(shift, reverse, keep)
