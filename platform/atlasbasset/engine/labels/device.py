"""Labels that are on the device: a step's positives are assembled there, with torch only.

The same interface as `data.LabelShard`. Cell indices keep their two bytes: torch indexes no uint16,
so they are stored as the same bits in int16 and widened after selection. The host keeps the row
starts, and so knows every size without asking the device: nothing here synchronises, except
`matrix`, for the passes outside the steps.

With tiles the number of sampled pairs is known to the device only. On a GPU positives then
keep the length they have without tiles: pairs that are not sampled are at the end, with a cell just
past the table, which the GPU's loss never reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.loss_types import Positives

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.cells import Tiles
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.atlas.label_rows import LabelRows
    from atlasstore.zarrio.blocks import CellBlock

__all__ = ["DeviceCachedLabels", "DeviceLabels"]

_INDEX_BITS = 0xFFFF


class DeviceLabels:
    """Labels of a run of cell blocks on a device, cells counted from the run's first cell.

    Parameters
    ----------
    blocks
        The run, in order.
    labels
        Each block's CSR rows, one per peak of the atlas; taken one after the other.
    n_positives
        Of all blocks together.
    device
        Where they are to be.
    """

    def __init__(
        self,
        blocks: Sequence[CellBlock],
        labels: Iterable[LabelRows],
        *,
        n_positives: int,
        device: torch.device,
    ) -> None:
        self.start, self.stop = blocks[0].start, blocks[-1].stop
        self._indices = torch.empty(n_positives, dtype=torch.int16, device=device)
        row_starts, at = [], 0
        for rows in labels:
            row_starts.append(rows.indptr + at)
            stop = at + len(rows.indices)
            self._indices[at:stop].copy_(torch.from_numpy(rows.indices.view(np.int16)))
            at = stop
        self._row_starts = np.stack(row_starts)
        self._device_starts = torch.from_numpy(self._row_starts).to(device)
        offsets = np.array([b.start - self.start for b in blocks], np.int64)
        self._offsets = torch.from_numpy(offsets).to(device)

    @property
    def n_cells(self) -> int:
        """Cells in the run."""
        return self.stop - self.start

    def positives(self, peaks: NDArray[np.int64], tiles: Tiles = None) -> Positives:
        """Return the open pairs of a batch of peaks and the cells of `tiles`, sorted by cell.

        Cells are counted in the order of `tiles`. On a GPU pairs of other cells come last, with the
        number of cells in `tiles` for a cell: they count for nothing.

        Returns
        -------
        Positives
            On the labels' device.
        """
        found, n_met = self._padded(peaks, tiles)
        if tiles is None or found.cell.is_cuda:
            return found
        n_pairs = int(torch.searchsorted(found.cell, n_met))
        return Positives(found.cell[:n_pairs], found.row[:n_pairs])

    def _padded(self, peaks: NDArray[np.int64], tiles: Tiles) -> tuple[Positives, int]:
        """Return the positives, those of cells not in `tiles` last, and the number of cells."""
        cell, row = self._pairs(peaks)
        n_met = self.n_cells
        if tiles is not None:
            cell, n_met = self._met(cell, tiles)
        # one key per pair: sorting keys alone is cheaper than sorting cells and moving rows along
        n_rows = max(1, len(peaks))
        narrow = (n_met + 1) * n_rows < torch.iinfo(torch.int32).max
        key = (cell * n_rows + row).to(torch.int32 if narrow else torch.int64)
        key = key.sort().values
        return Positives((key // n_rows).long(), (key % n_rows).long()), n_met

    def matrix(self, peaks: NDArray[np.int64]) -> sparse.csr_array:
        """Return the labels of `peaks` in host memory, bool CSR (len(peaks), n_cells)."""
        cell, row = (part.cpu().numpy() for part in self._pairs(peaks))
        lengths = np.diff(self._row_starts)[:, peaks].sum(axis=0)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        indices = cell[np.argsort(row, kind="stable")]  # blocks in order: ascending within a row
        ones = np.ones(len(indices), bool)
        return sparse.csr_array((ones, indices, indptr), shape=(len(peaks), self.n_cells))

    def _pairs(self, peaks: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return (cell, row of `peaks`) of every open pair, int64, block by block, row by row."""
        total = int((self._row_starts[:, peaks + 1] - self._row_starts[:, peaks]).sum())
        rows = self._sent(peaks)
        first = self._device_starts[:, rows]
        lengths = (self._device_starts[:, rows + 1] - first).flatten()
        segment = torch.arange(len(lengths), device=rows.device)
        segment = segment.repeat_interleave(lengths, output_size=total)
        moved = first.flatten() - (lengths.cumsum(0) - lengths)
        at = moved[segment] + torch.arange(total, device=rows.device)
        in_block = self._indices[at].long() & _INDEX_BITS
        n_rows = max(1, len(peaks))
        return in_block + self._offsets[segment // n_rows], segment % n_rows

    def _met(self, cell: Tensor, tiles: tuple[slice, ...]) -> tuple[Tensor, int]:
        """Count cells in the order of `tiles`, those of no tile as one past the last."""
        first = np.array([tile.start for tile in tiles], np.int64)
        sizes = np.array([tile.stop for tile in tiles], np.int64) - first
        n_met = int(sizes.sum())
        if not n_met:
            return torch.zeros_like(cell), 0
        moved = np.cumsum(sizes) - sizes - first
        starts, stops, moves = self._sent(np.stack([first, first + sizes, moved])).unbind()
        tile = torch.searchsorted(starts, cell, right=True) - 1
        inside = (tile >= 0) & (cell < stops[tile])
        return torch.where(inside, cell + moves[tile], n_met), n_met

    def _sent(self, values: NDArray[np.int64]) -> Tensor:
        """Send a small array to the device; from pinned memory, so that nobody waits."""
        tensor, device = torch.from_numpy(values), self._indices.device
        if device.type != "cuda":
            return tensor.to(device)
        return tensor.pin_memory().to(device, non_blocking=True)


class DeviceCachedLabels:
    """All labels of the worker's cells on its device, read once, a block at a time.

    Parameters
    ----------
    atlas
        The open atlas.
    blocks
        The worker's cell blocks, a contiguous run.
    device
        Where they are to be.
    """

    def __init__(self, atlas: Atlas, blocks: Sequence[CellBlock], device: torch.device) -> None:
        self.blocks = blocks
        self._shard = DeviceLabels(
            blocks,
            (atlas.labels(block.index) for block in blocks),
            n_positives=sum(atlas.block_positives[block.index] for block in blocks),
            device=device,
        )

    def load(self, peaks: NDArray[np.int64]) -> DeviceLabels:
        """Return everything."""
        return self._shard
