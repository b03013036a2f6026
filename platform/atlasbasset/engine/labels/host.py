"""A worker's part of an atlas: all sequences as codes, labels of its own cell blocks.

Codes take 1,350 bytes per peak (118k peaks: 159 MB) and stay in memory. Labels take 2 bytes an open
pair: all of them stay in memory (`CachedLabels`) or they are read for a group of peaks at a time
(`StreamedLabels`); both have the same interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.loss_types import Positives
from atlasbasset.engine.labels._sort_by_cell import pairs_by_cell
from atlasbasset.engine.labels.device import DeviceCachedLabels
from atlasstore.atlas.label_rows import LabelRows
from atlasstore.events import Progress, ignore
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from atlasbasset.core.cells import Tiles
    from atlasbasset.engine.memory.places import CodePlace, LabelPlace
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.zarrio.blocks import CellBlock

__all__ = [
    "READ_PEAKS",
    "TILE_POSITIVES",
    "CachedLabels",
    "LabelShard",
    "Labels",
    "LoadedLabels",
    "StreamedLabels",
    "WorkerData",
]

_CPU = torch.device("cpu")
READ_PEAKS = 4096
"""Peaks of a read of sequences, and of a tile of labels at most."""
TILE_POSITIVES = 4_000_000
"""Open pairs of a tile of labels, about."""
_JOIN_GAP = 64
"""Peaks that are read for nothing rather than by a request of their own."""


class LabelShard:
    """Labels of a run of cell blocks, peak-major, cells counted from the run's first cell.

    Parameters
    ----------
    blocks
        The run, in order.
    labels
        Each block's CSR rows, one per peak held.
    peaks
        Which peaks are held, ascending; None for all of the atlas.
    """

    def __init__(
        self,
        blocks: Sequence[CellBlock],
        labels: Sequence[LabelRows],
        peaks: NDArray[np.int64] | None = None,
    ) -> None:
        self.start, self.stop = blocks[0].start, blocks[-1].stop
        self._peaks = peaks
        self._parts = [
            (b.start - self.start, b.n_cells, rows) for b, rows in zip(blocks, labels, strict=True)
        ]

    @property
    def n_cells(self) -> int:
        """Cells in the run."""
        return self.stop - self.start

    def positives(self, peaks: NDArray[np.int64], tiles: Tiles = None) -> Positives:
        """Return the open pairs of a batch of peaks and the cells of `tiles`, sorted by cell.

        Cells are counted in the order of `tiles`.
        """
        rows, place = self._rows(peaks), _places(tiles, self.n_cells)
        parts = [
            pairs_by_cell(labels.indptr, labels.indices, rows, place[offset : offset + n_cells])
            for offset, n_cells, labels in self._parts
        ]
        cell, row = (np.concatenate(pairs) for pairs in zip(*parts, strict=True))
        return Positives(torch.from_numpy(cell), torch.from_numpy(row))

    def matrix(self, peaks: NDArray[np.int64]) -> sparse.csr_array:
        """Return the labels of `peaks`, bool CSR (len(peaks), n_cells)."""
        rows = self._rows(peaks)
        return sparse.hstack([_rows_of(part, rows, n) for _, n, part in self._parts], format="csr")

    def _rows(self, peaks: NDArray[np.int64]) -> NDArray[np.int64]:
        return peaks if self._peaks is None else np.searchsorted(self._peaks, peaks)


def _places(tiles: Tiles, n_cells: int) -> NDArray[np.int64]:
    """Return each cell's place among the cells of `tiles`; -1 for the others."""
    if tiles is None:
        return np.arange(n_cells)
    place = np.full(n_cells, -1, np.int64)
    at = 0
    for tile in tiles:
        size = tile.stop - tile.start
        place[tile] = np.arange(at, at + size)
        at += size
    return place


def _rows_of(labels: LabelRows, rows: NDArray[np.int64], n_cells: int) -> sparse.csr_array:
    starts, stops = labels.indptr[rows], labels.indptr[rows + 1]
    lengths = stops - starts
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    at = np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])
    indices = labels.indices[at].astype(np.int32)
    ones = np.ones(len(indices), bool)
    return sparse.csr_array((ones, indices, indptr), shape=(len(rows), n_cells))


class LoadedLabels(Protocol):
    """Labels in memory: a `LabelShard`, or `device_labels.DeviceLabels`."""

    def positives(self, peaks: NDArray[np.int64], tiles: Tiles = None) -> Positives:
        """Return the open pairs of a batch of peaks and the cells of `tiles`, sorted by cell."""
        ...

    def matrix(self, peaks: NDArray[np.int64]) -> sparse.csr_array:
        """Return the labels of `peaks`, bool CSR (len(peaks), n_cells)."""
        ...


class Labels(Protocol):
    """The labels of a worker's cells, wherever they are stored."""

    blocks: Sequence[CellBlock]

    def load(self, peaks: NDArray[np.int64]) -> LoadedLabels:
        """Return labels that hold at least `peaks` (ascending), in memory."""
        ...


class CachedLabels:
    """All labels of the worker's cells in memory, read once."""

    def __init__(
        self, atlas: Atlas, blocks: Sequence[CellBlock], *, on_event: Subscriber = ignore
    ) -> None:
        self.blocks = blocks
        read = []
        for n_done, block in enumerate(blocks, 1):
            read.append(atlas.labels(block.index))
            on_event(Progress("reading labels", n_done, len(blocks), "blocks"))
        self._shard = LabelShard(blocks, read)

    def load(self, peaks: NDArray[np.int64]) -> LabelShard:
        """Return everything."""
        return self._shard


class StreamedLabels:
    """Labels read from the store whenever they are needed, in runs of neighbouring peaks."""

    def __init__(self, atlas: Atlas, blocks: Sequence[CellBlock]) -> None:
        self.blocks = blocks
        self._atlas = atlas

    def load(self, peaks: NDArray[np.int64]) -> LabelShard:
        """Read the labels of `peaks` and no others."""
        return LabelShard(self.blocks, [self._block(b.index, peaks) for b in self.blocks], peaks)

    def _block(self, index: int, peaks: NDArray[np.int64]) -> LabelRows:
        lengths, indices = [np.zeros(1, np.int64)], []
        for run in np.split(peaks, np.flatnonzero(np.diff(peaks) > _JOIN_GAP) + 1):
            first = int(run[0])
            read = self._atlas.labels(index, first, int(run[-1]) + 1)
            held = _held(read, run - first)
            lengths.append(np.diff(held.indptr))
            indices.append(held.indices)
        return LabelRows(np.cumsum(np.concatenate(lengths)), np.concatenate(indices))


def _held(read: LabelRows, rows: NDArray[np.int64]) -> LabelRows:
    """Keep some rows."""
    lengths = np.diff(read.indptr)
    kept = np.zeros(len(lengths), bool)
    kept[rows] = True
    indices = read.indices if kept.all() else read.indices[np.repeat(kept, lengths)]
    return LabelRows(np.concatenate([[0], np.cumsum(lengths[rows])]), indices)


class WorkerData:
    """What one worker holds of an atlas.

    Parameters
    ----------
    atlas
        The open atlas.
    block_indices
        This worker's cell blocks, a contiguous run.
    labels
        Where labels are: read once into memory or onto the device, or read when needed.
    codes
        Where sequences are.
    device
        Where the worker computes.
    on_event
        Called with `Progress` while labels and sequences are read.
    """

    def __init__(
        self,
        atlas: Atlas,
        block_indices: range,
        *,
        labels: LabelPlace = "ram",
        codes: CodePlace = "ram",
        device: torch.device = _CPU,
        on_event: Subscriber = ignore,
    ) -> None:
        self.blocks = [atlas.blocks[i] for i in block_indices]
        self.start, self.stop = self.blocks[0].start, self.blocks[-1].stop
        self.labels = _placed_labels(atlas, self.blocks, labels, device, on_event)
        read = torch.from_numpy(_all_codes(atlas, on_event))
        self.codes = read.to(device if codes == "device" else _CPU)
        positives = sum(atlas.block_positives[i] for i in block_indices)
        mean_row = max(1, positives // max(1, atlas.n_peaks))
        self._tile_peaks = max(1, min(READ_PEAKS, TILE_POSITIVES // mean_row))

    @property
    def n_cells(self) -> int:
        """Number of this worker's cells."""
        return self.stop - self.start

    def label_tiles(self, peaks: NDArray[np.int64]) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Yield (rows of `peaks`, their labels as bool CSR), tile by tile; `peaks` rise."""
        for start, stop in runs(len(peaks), self._tile_peaks):
            chosen = peaks[start:stop]
            yield slice(start, stop), self.labels.load(chosen).matrix(chosen)


def _placed_labels(
    atlas: Atlas,
    blocks: Sequence[CellBlock],
    place: LabelPlace,
    device: torch.device,
    on_event: Subscriber,
) -> Labels:
    if place == "device":
        return DeviceCachedLabels(atlas, blocks, device)
    if place == "streamed":
        return StreamedLabels(atlas, blocks)
    return CachedLabels(atlas, blocks, on_event=on_event)


def _all_codes(atlas: Atlas, on_event: Subscriber) -> NDArray[np.uint8]:
    codes = np.empty((atlas.n_peaks, atlas.window_bp + 2 * atlas.flank_bp), np.uint8)
    for start, stop in runs(atlas.n_peaks, READ_PEAKS):
        codes[start:stop] = atlas.sequence_codes(start, stop)
        on_event(Progress("reading sequences", stop, atlas.n_peaks, "peaks"))
    return codes
