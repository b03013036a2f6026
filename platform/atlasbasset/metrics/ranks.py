"""auROC and auPR of every column (or row) of a score table, exact, many at a time.

Letters: P peaks, n or N cells.

One sort serves both measures. A float32 score is mapped to the int32 of the same order, shifted
left by one bit, and its label becomes the lowest bit: sorting these int64 keys sorts by score and,
inside a tie, puts negatives before positives. Numpy sorts plain int64 rows with vector
instructions, several times faster than an argsort. Afterwards only the positives are visited: the
place of each distinct positive key says how many negatives are below and how many are tied.

* auROC is the Mann-Whitney statistic with midranks: (negatives below + half of those tied), summed
  over positives, over (positives x negatives).
* auPR is scikit-learn's average precision: the step-wise sum of (recall gained x precision) from
  the highest score down, all equal scores counted as one step.

Counts are integers and their sums are exact in float64 below 2**53 pairs, so auROC is right to the
last division; average precision adds one rounding per distinct score.

A column with one class has neither measure: both are NaN.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "RankMeasures",
    "auroc_columns",
    "auroc_rows",
    "average_precision_columns",
    "average_precision_rows",
    "rank_columns",
    "rank_rows",
]

CHUNK_ELEMENTS = 1 << 18
"""Scores handled at once by a thread: their keys (2 MiB) stay near the core's cache."""

_MINUS_ZERO = np.iinfo(np.int32).min
"""The bits of float32 -0.0."""


class RankMeasures(NamedTuple):
    """Both measures of every column (or row); NaN where there is one class only."""

    auroc: NDArray[np.float64]
    """Shape (n,), in 0..1."""
    average_precision: NDArray[np.float64]
    """Shape (n,), in 0..1."""


def rank_columns(
    scores: NDArray[np.float32],
    labels: NDArray[np.bool_],
    *,
    workers: int | None = None,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> RankMeasures:
    """Compute auROC and average precision of every column.

    Parameters
    ----------
    scores
        float32, shape (P, n), any order-preserving scale; infinities are allowed, NaN is not.
        Column-major (Fortran) order saves a copy.
    labels
        bool, shape (P, n).
    workers
        Threads; by default the CPU cores this process may use. Extra memory is about 6 MiB each.
    chunk_elements
        Scores handled at once by a thread.

    Raises
    ------
    TypeError
        Scores are not float32 or labels are not bool (converting could make ties).
    ValueError
        The shapes differ or a score is NaN.
    """
    return rank_rows(scores.T, labels.T, workers=workers, chunk_elements=chunk_elements)


def rank_rows(
    scores: NDArray[np.float32],
    labels: NDArray[np.bool_],
    *,
    workers: int | None = None,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> RankMeasures:
    """Compute auROC and average precision of every row; see `rank_columns`.

    Parameters
    ----------
    scores
        float32, shape (p, N). A single row of any length is fine.
    labels
        bool, shape (p, N).
    workers, chunk_elements
        As in `rank_columns`.
    """
    _check(scores, labels)
    n_rows, length = scores.shape
    step = max(1, chunk_elements // max(1, length))
    pieces = [slice(start, start + step) for start in range(0, n_rows, step)]
    if not pieces:
        return RankMeasures(np.empty(0), np.empty(0))
    with ThreadPoolExecutor(workers or _cores()) as pool:
        done = list(pool.map(lambda rows: _rank(_sorted_keys(scores[rows], labels[rows])), pieces))
    return RankMeasures(
        np.concatenate([part.auroc for part in done]),
        np.concatenate([part.average_precision for part in done]),
    )


def auroc_columns(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], *, workers: int | None = None
) -> NDArray[np.float64]:
    """Compute the auROC of every column, float64 (n,); see `rank_columns`."""
    return rank_columns(scores, labels, workers=workers).auroc


def auroc_rows(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], *, workers: int | None = None
) -> NDArray[np.float64]:
    """Compute the auROC of every row, float64 (p,); see `rank_columns`."""
    return rank_rows(scores, labels, workers=workers).auroc


def average_precision_columns(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], *, workers: int | None = None
) -> NDArray[np.float64]:
    """Compute the average precision (auPR) of every column, float64 (n,); see `rank_columns`."""
    return rank_columns(scores, labels, workers=workers).average_precision


def average_precision_rows(
    scores: NDArray[np.float32], labels: NDArray[np.bool_], *, workers: int | None = None
) -> NDArray[np.float64]:
    """Compute the average precision (auPR) of every row, float64 (p,); see `rank_columns`."""
    return rank_rows(scores, labels, workers=workers).average_precision


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
    if scores.dtype != np.float32 or labels.dtype != np.bool_:
        raise TypeError(
            f"Ranking takes float32 scores and bool labels, not {scores.dtype} and {labels.dtype};"
            " convert them first."
        )
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(
            "Ranking takes two tables of one shape, peaks x cells,"
            f" not scores {scores.shape} and labels {labels.shape}."
        )


def _sorted_keys(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Sort every row of (score, label) pairs packed as ``2 * order(score) + label``."""
    if np.isnan(scores).any():
        raise ValueError("A score is NaN, so it has no rank; check the model's predictions.")
    bits = np.array(scores, order="C").view(np.int32)
    bits[bits == _MINUS_ZERO] = 0  # equal to 0.0, though its bits are not
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    keys = bits.astype(np.int64)
    keys <<= 1
    keys |= labels
    keys.sort(axis=1)
    return keys


class _Steps(NamedTuple):
    """The distinct scores that positives have, by row and then ascending; one entry each."""

    row: NDArray[np.intp]
    """The row it belongs to."""
    place: NDArray[np.intp]
    """Where in all keys its first positive is."""
    before: NDArray[np.intp]
    """Positives of smaller score in its row."""
    weight: NDArray[np.intp]
    """Positives that share it."""


def _rank(keys: NDArray[np.int64]) -> RankMeasures:
    """Read both measures off sorted keys, shape (rows, length)."""
    n_rows, length = keys.shape
    is_positive = (keys.astype(np.uint8) & 1).view(np.bool_)
    n_positive = np.count_nonzero(is_positive, axis=1)
    steps = _steps(keys.ravel(), is_positive, n_positive)
    row_start = steps.row * length
    tie_start = _tie_starts(keys.ravel(), steps.place, row_start)

    below, tied = tie_start - steps.before, steps.place - row_start - tie_start
    pairs = np.bincount(steps.row, steps.weight * (below + 0.5 * tied), n_rows)
    precision = (n_positive[steps.row] - steps.before) / (length - tie_start)
    gained = np.bincount(steps.row, steps.weight * precision, n_rows)
    return RankMeasures(
        _divide(pairs, n_positive * (length - n_positive)),
        # without negatives the precision is 1 throughout, but one class has no measure
        _divide(gained, np.where(n_positive < length, n_positive, 0)),
    )


def _steps(
    flat: NDArray[np.int64], is_positive: NDArray[np.bool_], n_positive: NDArray[np.intp]
) -> _Steps:
    """Gather the positives and keep the first of each run of equal keys."""
    place = np.flatnonzero(is_positive)
    row = np.repeat(np.arange(len(n_positive)), n_positive)
    before = np.arange(place.size) - np.repeat(np.cumsum(n_positive) - n_positive, n_positive)
    key = flat[place]
    is_first = np.ones(place.size, np.bool_)
    is_first[1:] = (key[1:] != key[:-1]) | (row[1:] != row[:-1])
    weight = np.diff(np.append(np.flatnonzero(is_first), place.size))
    return _Steps(row[is_first], place[is_first], before[is_first], weight)


def _tie_starts(
    flat: NDArray[np.int64], place: NDArray[np.intp], row_start: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Say where in its row the tie of each step begins: its first negative of equal score.

    `place` holds the first positive of each step, so only the key one smaller can be tied with it.
    """
    start = place.copy()
    has_left = place > row_start
    tied = np.flatnonzero(has_left & (flat[place - has_left] == flat[place] - 1))
    low, high = row_start[tied], place[tied] - 1
    target = flat[place[tied]] - 1
    while np.any(low < high):
        middle = (low + high) >> 1
        reached = flat[middle] >= target
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    start[tied] = high
    return start - row_start


def _divide(top: NDArray[Any], bottom: NDArray[np.intp]) -> NDArray[np.float64]:
    """Divide; NaN over zero."""
    nothing = np.full(top.shape, np.nan)
    ratio: NDArray[np.float64] = np.divide(top, bottom, out=nothing, where=bottom > 0)
    return ratio
