"""Who owns which rows: cell blocks, ranks' shares of them, row runs of shards. Integers only.

A cell block is a range of cells whose labels are in one pair of arrays. It is the unit of parallel
writing and of ownership in training; a cell's index inside its block fits a uint16.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "CellBlock",
    "CellPart",
    "assign_blocks",
    "chunk_and_shard",
    "cut_cells",
    "plan_cell_blocks",
    "plan_parts",
    "runs",
]

MIN_BLOCKS = 16
"""Blocks of an atlas by default: as many workers can share its training."""
MAX_BLOCK_CELLS = 65_536
"""Cells in a block at most, so that an index inside a block is a uint16."""


@dataclass(frozen=True, slots=True)
class CellBlock:
    """The cells [start, stop), 0-based half-open, in the atlas's order."""

    index: int
    start: int
    stop: int

    @property
    def n_cells(self) -> int:
        """Cells in the block."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class CellPart:
    """Cells [start, stop) of one block whose labels are in arrays of their own.

    A block is one part, or several where cells were added later: what was written stays.
    """

    index: int
    """Names the arrays: ``labels/<index>``."""
    block: int
    """The block they are cells of."""
    start: int
    stop: int
    first_index: int
    """Index of cell `start` in its block."""

    @property
    def n_cells(self) -> int:
        """Cells in the part."""
        return self.stop - self.start


def plan_cell_blocks(
    n_cells: int, *, max_block_cells: int = MAX_BLOCK_CELLS, min_blocks: int = MIN_BLOCKS
) -> tuple[CellBlock, ...]:
    """Cut cells into blocks of one size, the last one possibly smaller.

    ``start == index * block_cells`` holds for every block, so a zarr array chunked by
    ``block_cells`` has one chunk per block.

    Parameters
    ----------
    n_cells
        Cells in the atlas, at least 1.
    max_block_cells
        Cells in a block at most, 1..65,536.
    min_blocks
        Blocks at least (as many as cells when there are fewer cells than that).

    Returns
    -------
    tuple of CellBlock
        In order, covering every cell once, none empty.
    """
    if n_cells < 1 or not 1 <= max_block_cells <= MAX_BLOCK_CELLS or min_blocks < 1:
        raise ValueError(
            f"cannot plan blocks for n_cells={n_cells}, max_block_cells={max_block_cells}, "
            f"min_blocks={min_blocks}"
        )
    size = _block_size(n_cells, max(min_blocks, -(-n_cells // max_block_cells)))
    return cut_cells(n_cells, size)


def cut_cells(n_cells: int, block_cells: int) -> tuple[CellBlock, ...]:
    """Return the blocks of `block_cells` cells that cover `n_cells`, the last possibly smaller."""
    return tuple(
        CellBlock(index, start, stop)
        for index, (start, stop) in enumerate(runs(n_cells, block_cells))
    )


def plan_parts(edges: Sequence[int], block_cells: int) -> tuple[CellPart, ...]:
    """Return the parts of an atlas that was made and appended to.

    Every lot of cells goes on where the one before ended: it first fills that one's last block,
    then adds blocks, so all blocks but the last are full.

    Parameters
    ----------
    edges
        0, then the number of cells after making and after each appending, ascending.
    block_cells
        Cells in a block.

    Returns
    -------
    tuple of CellPart
        In the cells' order, none empty, none crossing the end of a block or of a lot.
    """
    cuts = sorted({*edges, *range(0, edges[-1], block_cells)})
    return tuple(
        CellPart(index, start // block_cells, start, stop, start % block_cells)
        for index, (start, stop) in enumerate(pairwise(cuts))
    )


def _block_size(n_cells: int, n_blocks: int) -> int:
    """Return the size that gives at least `n_blocks` blocks, the last as full as can be.

    ``ceil(n / b)`` fills b blocks best but may leave fewer; ``(n - 1) // (b - 1)`` is the largest
    size that still gives b blocks.
    """
    even = -(-n_cells // n_blocks)
    return even if n_blocks == 1 else max(1, min(even, (n_cells - 1) // (n_blocks - 1)))


def assign_blocks(weights: Sequence[int], n_ranks: int) -> tuple[range, ...]:
    """Give each rank a contiguous run of blocks so that the heaviest rank is as light as possible.

    Parameters
    ----------
    weights
        Each block's work (its positives), 0 or more.
    n_ranks
        Ranks, each of which gets at least one block.

    Returns
    -------
    tuple of range
        Block indices of each rank, in order.

    Raises
    ------
    UserInputError
        When there are more ranks than blocks.
    """
    if n_ranks < 1:
        raise ValueError(f"n_ranks must be at least 1, got {n_ranks}")
    if n_ranks > len(weights):
        raise UserInputError(
            f"{n_ranks} workers cannot share {len(weights)} cell blocks, since each worker owns "
            f"whole blocks; use at most {len(weights)} workers, or make the atlas anew with "
            f"smaller blocks (preprocess --min-blocks {n_ranks})."
        )
    bound = _smallest_bound(weights, n_ranks)
    return tuple(_cut(weights, n_ranks, bound))


def _smallest_bound(weights: Sequence[int], n_ranks: int) -> int:
    """Return the least load under which `n_ranks` runs or fewer hold every block."""
    low, high = max(weights), sum(weights)
    while low < high:
        middle = (low + high) // 2
        if _runs_needed(weights, middle) <= n_ranks:
            high = middle
        else:
            low = middle + 1
    return low


def _runs_needed(weights: Sequence[int], bound: int) -> int:
    needed, load = 1, 0
    for weight in weights:
        if load + weight > bound:
            needed, load = needed + 1, 0
        load += weight
    return needed


def _cut(weights: Sequence[int], n_ranks: int, bound: int) -> Iterator[range]:
    start = 0
    for ranks_left in range(n_ranks - 1, -1, -1):
        last_stop = len(weights) - ranks_left  # the ranks still to come get one block each
        stop, load = start + 1, weights[start]
        while stop < last_stop and (ranks_left == 0 or load + weights[stop] <= bound):
            load += weights[stop]
            stop += 1
        yield range(start, stop)
        start = stop


def chunk_and_shard(
    n_rows: int, row_bytes: int, *, chunk_bytes: int, shard_bytes: int
) -> tuple[int, int]:
    """Return (rows in a chunk, rows in a shard) of an array cut along its first axis.

    The chunk is the largest power of two of rows within `chunk_bytes`, at least one row and at
    most all of them; the shard is a multiple of the chunk, within `shard_bytes` or one chunk, and
    no longer than needed for `n_rows`.
    """
    chunk = 1 << max(0, (chunk_bytes // row_bytes).bit_length() - 1)
    chunk = min(chunk, max(1, n_rows))
    most = max(1, shard_bytes // (chunk * row_bytes))
    needed = max(1, -(-n_rows // chunk))
    return chunk, chunk * min(most, needed)


def runs(n_rows: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of consecutive runs of `size` rows, the last possibly shorter."""
    for start in range(0, n_rows, size):
        yield start, min(start + size, n_rows)
