"""The last stage: a block's pieces become its peak-major arrays, by a counting sort.

The pieces are read once to count each peak's positives, which gives the block's `indptr`, and once
for each range of peaks, whose cells are scattered into place and written. Nothing is larger than
the range; 2 bytes a positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.atlas.writer import ARRAY_SIZES, ArraySizes, LabelWriter
from atlasstore.files import urls
from atlasstore.transpose.kernels import add_counts, scatter
from atlasstore.transpose.memory_plan import peak_ranges
from atlasstore.transpose.scratch_files import Piece, read_piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasstore.transpose.scratch_files import OpenPeaks
    from atlasstore.zarrio.blocks import CellPart

__all__ = ["BlockTask", "plan_blocks", "write_block"]


@dataclass(frozen=True, slots=True)
class BlockTask:
    """One task of writing: the labels of one run of kept cells."""

    part: CellPart
    """Which arrays they become."""
    first_cell: int
    """The cell of ``kept[0]``, counted over all inputs."""
    kept: NDArray[np.bool_]
    """Which cells from there on are kept: the part's cells, no more."""
    rows: NDArray[np.int32]
    """The peak row of each column read, -1 for a peak that is not kept."""
    n_peaks: int
    """Peak rows."""
    pieces: tuple[Piece, ...]
    """Where the cells are."""
    first_of_pieces: int
    """The first cell of ``pieces[0]``, counted over all inputs."""


def plan_blocks(
    parts: Sequence[CellPart],
    pieces: Sequence[Piece],
    *,
    kept: NDArray[np.bool_],
    rows: NDArray[np.int32],
) -> list[BlockTask]:
    """Return the tasks that write `parts`, whose cells are the kept ones in order.

    Parameters
    ----------
    parts
        From the first kept cell on, without a gap.
    pieces
        All pieces, in the cells' order.
    kept
        Which cells read are kept.
    rows
        The peak row of each column, -1 for none.
    """
    cells = np.flatnonzero(kept)
    starts = np.cumsum([0, *(piece.n_cells for piece in pieces)])
    n_peaks, origin, tasks = int(rows.max()) + 1, parts[0].start, []
    for part in parts:
        first = int(cells[part.start - origin])
        last = int(cells[part.stop - origin - 1])
        begin, end = np.searchsorted(starts, [first, last], side="right").tolist()
        tasks.append(
            BlockTask(
                part,
                first,
                kept[first : last + 1],
                rows,
                n_peaks,
                tuple(pieces[begin - 1 : end]),
                int(starts[begin - 1]),
            )
        )
    return tasks


def write_block(
    task: BlockTask,
    *,
    store: str,
    scratch: str,
    positives_per_range: int,
    sizes: ArraySizes = ARRAY_SIZES,
) -> dict[str, Any]:
    """Write one part's arrays; return its receipt.

    What a killed writer left of them is deleted first.
    """
    urls.delete(urls.join(store, "labels", str(task.part.index)))
    edges = _edges(task, scratch)
    group = urls.open_group(store, mode="r+", use_consolidated=False)
    writer = LabelWriter(group, task.part.index, edges, sizes=sizes)
    for first, last in peak_ranges(edges, positives_per_range):
        writer.append(_cells(task, scratch, edges[first : last + 1], first))
    writer.close()
    return {"n_positives": int(edges[-1])}


def _edges(task: BlockTask, scratch: str) -> NDArray[np.int64]:
    edges = np.zeros(task.n_peaks + 1, np.int64)
    for run, number in _runs(task, scratch):
        add_counts(run.peaks, run.n_open, number, task.rows, edges[1:])
    return np.cumsum(edges, out=edges)


def _cells(
    task: BlockTask, scratch: str, edges: NDArray[np.int64], first_row: int
) -> NDArray[np.uint16]:
    """Return the open cells of one range of peaks, given its edges."""
    cells = np.empty(int(edges[-1] - edges[0]), np.uint16)
    cursor = edges[:-1] - edges[0]
    for run, number in _runs(task, scratch):
        scatter(run.peaks, run.n_open, number, task.rows, first_row, cursor, cells)
    return cells


def _runs(task: BlockTask, scratch: str) -> Iterator[tuple[OpenPeaks, NDArray[np.int32]]]:
    """Yield each piece with its cells' indices in the block, -1 for cells of no or another one."""
    index = np.cumsum(task.kept, dtype=np.int32) - 1 + task.part.first_index
    numbers = np.where(task.kept, index, -1).astype(np.int32)
    at = task.first_of_pieces - task.first_cell  # where the piece begins in `numbers`
    for piece in task.pieces:
        number = np.full(piece.n_cells, -1, np.int32)
        low, high = max(at, 0), min(at + piece.n_cells, len(numbers))
        number[low - at : high - at] = numbers[low:high]
        yield read_piece(scratch, piece, n_peaks=len(task.rows)), number
        at += piece.n_cells
