"""What fits: workers, positives in a read, ranges of peaks in a block. Integers only.

Memory is counted as ``held + slack + workers * share``: `held` is what the process holds before the
stage, the slack covers compiled code and the allocator, a share is what one task holds at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from atlasstore.resume.machine import Machine

    Edges = Sequence[int] | NDArray[np.int64]

__all__ = [
    "LabelPlan",
    "ReadPlan",
    "expected_passes",
    "next_read",
    "peak_ranges",
    "plan_labels",
    "plan_reads",
    "plan_sequences",
    "plan_survey",
    "spans",
]

READ_BYTES = 48
"""Of one positive while it is read: the input's value and column, the checked copy, the piece."""
PIECE_BYTES = 12
"""Of one positive of a piece while it is read back: compressed, bytes, array."""
WRITE_COPIES = 4
"""Shards held while one is written: the part, its chunks, their compressed bytes, the shard."""
PEAK_BYTES = 520
"""Of one peak of a BED file while a worker reads it and makes it ready to count on, measured."""

_LEAST_SURVEY_BYTES = 64 << 20
_MOST_SURVEY_BYTES = 512 << 20
_MOST_PER_READ = 2_000_000
_LEAST_PER_READ = 20_000
_MOST_PER_RANGE = 1 << 28
_LEAST_PER_RANGE = 1 << 16
_CELLS_PER_SPAN = 16_384
_CAUTION_NUM, _CAUTION_DEN = 5, 4
"""A read is planned for cells this much deeper than the deepest read so far."""
_FIRST_SHARE = 10
"""Before the first read a cell is taken to be open in a tenth of the peaks."""
_GROWTH = 4


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """How inputs are read."""

    workers: int
    positives_per_read: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class LabelPlan:
    """How blocks are transposed."""

    workers: int
    positives_per_range: int
    """Positives of a block that are sorted at a time."""
    peak_bytes: int


def plan_survey(machine: Machine, *, bed_peaks: int) -> tuple[int, int]:
    """Plan looking at inputs and copying those that need it.

    Parameters
    ----------
    machine
        What may be used.
    bed_peaks
        Peaks of the BED file that fragments and BAM are counted on; 0 without one.

    Returns
    -------
    tuple[int, int]
        Workers, and the bytes that the counts of each may take.
    """
    fixed = PEAK_BYTES * bed_peaks
    workers = machine.workers(fixed + _LEAST_SURVEY_BYTES, stage="looking at inputs")
    return workers, min(_MOST_SURVEY_BYTES, machine.free_bytes // workers - fixed)


def plan_reads(machine: Machine, n_peaks: int) -> ReadPlan:
    """Plan the reading: all cores, then as many positives per read as the memory allows."""
    fixed = 16 * n_peaks
    workers = machine.workers(fixed + READ_BYTES * _LEAST_PER_READ, stage="reading counts")
    room = machine.free_bytes // workers - fixed
    positives = min(_MOST_PER_READ, room // READ_BYTES)
    share = fixed + READ_BYTES * positives
    return ReadPlan(workers, positives, machine.peak_bytes(workers, share))


def plan_labels(
    machine: Machine,
    *,
    n_peaks_in: int,
    n_peaks: int,
    piece_positives: int,
    block_positives: Sequence[int],
    shard_bytes: int,
) -> LabelPlan:
    """Plan the transposition: all cores, then as few ranges of peaks as the memory allows.

    Parameters
    ----------
    machine
        What may be used.
    n_peaks_in, n_peaks
        Peaks read and peaks kept.
    piece_positives
        Positives of the largest piece.
    block_positives
        Positives of each block.
    shard_bytes
        Size of a shard of indices.
    """
    largest = max(block_positives, default=0)
    fixed = 4 * n_peaks_in + 24 * (n_peaks + 1) + PIECE_BYTES * piece_positives
    fixed += WRITE_COPIES * min(shard_bytes, 2 * largest)
    least = min(largest, _LEAST_PER_RANGE)
    workers = machine.workers(fixed + 2 * least, stage="writing labels")
    workers = max(1, min(workers, len(block_positives)))
    room = (machine.free_bytes // workers - fixed) // 2
    positives = max(1, min(room, _MOST_PER_RANGE, largest))
    return LabelPlan(workers, positives, machine.peak_bytes(workers, fixed + 2 * positives))


def plan_sequences(machine: Machine, *, run_peaks: int, stored_bp: int) -> tuple[int, int]:
    """Return (workers, expected peak in bytes) of writing sequences in runs of peaks."""
    onehot = 4 * run_peaks * stored_bp
    share = onehot // 2 + 2 * onehot  # codes and their gathering, the array, its compressed copies
    workers = machine.workers(share, stage="writing sequences")
    return workers, machine.peak_bytes(workers, share)


def expected_passes(n_positives: int, positives_per_range: int) -> int:
    """Return how often a block's pieces are read: once to count, once per range of peaks."""
    return 1 + max(1, -(-n_positives // max(1, positives_per_range)))


def peak_ranges(edges: Edges, most: int) -> Iterator[tuple[int, int]]:
    """Yield consecutive ranges of peaks of at most `most` positives, or of one peak.

    Parameters
    ----------
    edges
        Where each peak's positives begin, n_peaks + 1 rising integers from 0.
    most
        Positives in a range.
    """
    first, n_peaks = 0, len(edges) - 1
    while first < n_peaks:
        last = _furthest(edges, first, most)
        yield first, last
        first = last


def _furthest(edges: Edges, first: int, most: int) -> int:
    """Return the last edge within `most` of edge `first`, at least the next one (bisection)."""
    low, high = first + 1, len(edges) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if int(edges[middle]) - int(edges[first]) <= most:
            low = middle
        else:
            high = middle - 1
    return low


def spans(n_cells: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of cells of one input that are tasks of their own.

    They depend on the input alone, so that a restart with another memory or other cores finds
    what is done.
    """
    return runs(n_cells, _CELLS_PER_SPAN)


def next_read(
    cells_left: int,
    *,
    n_peaks: int,
    positives_per_read: int,
    deepest: int,
    before: int,
) -> int:
    """Return how many cells to read next.

    Parameters
    ----------
    cells_left
        Cells still to be read, at least 1.
    n_peaks
        Peaks of the input.
    positives_per_read
        Positives wanted in one read at most.
    deepest
        Open peaks of a cell, the most that a read had on average so far; 0 before the first read.
    before
        Cells of the read before; 0 before the first.
    """
    depth = -(-deepest * _CAUTION_NUM // _CAUTION_DEN) if before else -(-n_peaks // _FIRST_SHARE)
    cells = positives_per_read // max(1, depth)
    if before:
        cells = min(cells, _GROWTH * before)
    return max(1, min(cells, cells_left))
