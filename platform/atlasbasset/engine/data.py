"""A worker's part of an atlas in memory: all sequences as codes, labels of its own cell blocks.

Codes take 1,350 bytes a peak (118k peaks: 159 MB), labels 2 bytes an open pair. Both are read once;
batches are then assembled without touching the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.loss import Positives

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasstore.atlas import Atlas, LabelRows
    from atlasstore.blocks import CellBlock

__all__ = ["LabelShard", "WorkerData"]

_READ_ROWS = 4096


class LabelShard:
    """Labels of a run of cell blocks, peak-major, cells counted from the run's first cell.

    Parameters
    ----------
    blocks
        The run, in order.
    labels
        Each block's CSR rows, one per peak of the atlas.
    """

    def __init__(self, blocks: Sequence[CellBlock], labels: Sequence[LabelRows]) -> None:
        self.start, self.stop = blocks[0].start, blocks[-1].stop
        self._parts = [
            (b.start - self.start, b.n_cells, rows) for b, rows in zip(blocks, labels, strict=True)
        ]

    @property
    def n_cells(self) -> int:
        """Cells in the run."""
        return self.stop - self.start

    def positives(self, peaks: NDArray[np.int64]) -> Positives:
        """Return the open pairs of a batch of peaks, sorted by cell."""
        cells, rows = [], []
        for offset, n_cells, labels in self._parts:
            by_cell = _rows_of(labels, peaks, n_cells).tocsc()
            counts = np.diff(by_cell.indptr)
            cells.append(np.repeat(np.arange(offset, offset + n_cells), counts))
            rows.append(by_cell.indices)
        cell, row = np.concatenate(cells), np.concatenate(rows).astype(np.int64)
        return Positives(torch.from_numpy(cell), torch.from_numpy(row))

    def matrix(self, peaks: NDArray[np.int64]) -> sparse.csr_array:
        """Return the labels of `peaks`, bool CSR (len(peaks), n_cells)."""
        return sparse.hstack([_rows_of(rows, peaks, n) for _, n, rows in self._parts], format="csr")


def _rows_of(labels: LabelRows, peaks: NDArray[np.int64], n_cells: int) -> sparse.csr_array:
    starts, stops = labels.indptr[peaks], labels.indptr[peaks + 1]
    lengths = stops - starts
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
    indices = labels.indices[at].astype(np.int32)
    ones = np.ones(len(indices), bool)
    return sparse.csr_array((ones, indices, indptr), shape=(len(peaks), n_cells))


class WorkerData:
    """What one worker holds of an atlas.

    Parameters
    ----------
    atlas
        The open atlas.
    block_indices
        This worker's cell blocks, a contiguous run.
    """

    def __init__(self, atlas: Atlas, block_indices: range) -> None:
        self.blocks = [atlas.blocks[i] for i in block_indices]
        self.labels = LabelShard(self.blocks, [atlas.labels(i) for i in block_indices])
        self.codes = torch.from_numpy(_all_codes(atlas))


def _all_codes(atlas: Atlas) -> NDArray[np.uint8]:
    codes = np.empty((atlas.n_peaks, atlas.window_bp + 2 * atlas.flank_bp), np.uint8)
    for start in range(0, atlas.n_peaks, _READ_ROWS):
        stop = min(start + _READ_ROWS, atlas.n_peaks)
        codes[start:stop] = atlas.sequence_codes(start, stop)
    return codes
