"""Writing an atlas: tables and empty arrays first, then shard-aligned rows, the attributes last.

The layout is described in ``docs/atlas-store.md``. The functions here write one part each into an
open group, and may be called by different processes: no two parts share a file. `write_atlas`
calls all of them in one process, for an atlas in memory.
"""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore.files import urls
from atlasstore.files.staging import staged
from atlasstore.genome.sequences import codes_to_onehot
from atlasstore.zarrio import arrays, blocks, formats, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import zarr
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = [
    "ARRAY_SIZES",
    "CHECKSUM",
    "ArraySizes",
    "AtlasShape",
    "AtlasWriter",
    "LabelWriter",
    "begin_atlas",
    "finish_atlas",
    "label_arrays",
    "label_checksum",
    "sequence_rows",
    "write_atlas",
    "write_sequences",
]

CHECKSUM = "crc32"
"""Attribute of the sequences, of each of their shards, and of each part's cells; see `verify`."""
_INDEX_COMPRESSION_LEVEL = 1
"""Of zstd: level 5 makes cell indices a tenth smaller and takes six times as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySizes:
    """How large the pieces of an atlas's arrays are, before compression."""

    chunk_bytes: int = 1 << 20
    sequence_shard_bytes: int = 48 << 20
    index_shard_bytes: int = 32 << 20
    """Of cell indices."""
    indptr_chunk: int = 131_072
    """Edges of a chunk."""


ARRAY_SIZES = ArraySizes()


@dataclass(frozen=True, slots=True)
class AtlasShape:
    """The sizes that fix an atlas's layout."""

    n_cells: int
    n_peaks: int
    block_cells: int
    window_bp: int
    flank_bp: int
    sizes: ArraySizes = ARRAY_SIZES

    @property
    def stored_bp(self) -> int:
        """Bases stored of each peak."""
        return self.window_bp + 2 * self.flank_bp

    def sequence_runs(self) -> list[tuple[int, int]]:
        """Return the (start, stop) ranges of peaks in which sequences must be written."""
        _, run = sequence_rows(self.n_peaks, self.stored_bp, self.sizes)
        return list(blocks.runs(self.n_peaks, run))


def sequence_rows(n_peaks: int, stored_bp: int, sizes: ArraySizes = ARRAY_SIZES) -> tuple[int, int]:
    """Return (peaks in a chunk, peaks in a shard) of the sequence array."""
    return blocks.chunk_and_shard(
        n_peaks,
        stored_bp * 4,
        chunk_bytes=sizes.chunk_bytes,
        shard_bytes=sizes.sequence_shard_bytes,
    )


def label_arrays(index: int) -> tuple[str, str]:
    """Return the names of part `index`'s (indptr, indices); in most atlases a part is a block."""
    return f"labels/{index}/indptr", f"labels/{index}/indices"


def begin_atlas(place: str, shape: AtlasShape, *, obs: pd.DataFrame, var: pd.DataFrame) -> None:
    """Create the group, its tables and its empty sequence array, marked as unfinished."""
    if (len(obs), len(var)) != (shape.n_cells, shape.n_peaks):
        raise ValueError(f"{len(obs)} rows of obs and {len(var)} of var do not fit {shape}")
    group = urls.create_group(place)
    formats.begin(group, formats.ATLAS)
    chunk, run = sequence_rows(shape.n_peaks, shape.stored_bp, shape.sizes)
    arrays.create_array(
        group,
        "sequence",
        shape=(shape.n_peaks, shape.stored_bp, 4),
        dtype=np.bool_,
        chunk_rows=chunk,
        shard_rows=run,
        axes=("peak", "position", "base"),
    )
    tables.write_table(group, "obs", obs)
    tables.write_table(group, "var", var)


def write_sequences(group: zarr.Group, start: int, codes: NDArray[np.uint8]) -> int:
    """Write the windows of one range of peaks, codes uint8, shape (n, window + 2 flank).

    Returns their checksum, for `finish_atlas`.
    """
    arrays.write_pieces(
        arrays.member(group, "sequence", url=str(group.store_path)), start, codes_to_onehot(codes)
    )
    return arrays.checksum(codes)


def label_checksum(edges: NDArray[np.int64], cells: NDArray[np.uint16]) -> int:
    """Return the CRC-32 of a part's edges and then its open cells."""
    begun = zlib.crc32(np.ascontiguousarray(edges, "<i8").data)
    return _with_cells(begun, cells)


def _with_cells(begun: int, cells: NDArray[np.uint16]) -> int:
    return zlib.crc32(np.ascontiguousarray(cells, "<u2").data if len(cells) else b"", begun)


class LabelWriter:
    """Writes the labels of one part peak after peak, in whole shards.

    Parameters
    ----------
    group
        The atlas.
    index
        The part.
    edges
        int64, shape (n_peaks + 1,): where each peak's open cells begin.
    sizes
        Of the arrays' pieces.
    """

    def __init__(
        self,
        group: zarr.Group,
        index: int,
        edges: NDArray[np.int64],
        *,
        sizes: ArraySizes = ARRAY_SIZES,
    ) -> None:
        indptr_name, indices_name = label_arrays(index)
        pointer = arrays.create_array(
            group,
            indptr_name,
            shape=edges.shape,
            dtype=np.int64,
            chunk_rows=min(sizes.indptr_chunk, len(edges)),
            fill_value=-1,
            axes=("peak_edge",),
        )
        pointer[:] = edges
        n_positives = int(edges[-1])
        chunk, self._shard = blocks.chunk_and_shard(
            n_positives, 2, chunk_bytes=sizes.chunk_bytes, shard_bytes=sizes.index_shard_bytes
        )
        self._cells = arrays.create_array(
            group,
            indices_name,
            shape=(n_positives,),
            dtype=np.uint16,
            chunk_rows=chunk,
            shard_rows=self._shard,
            fill_value=blocks.MAX_BLOCK_CELLS - 1,
            axes=("positive",),
            compression_level=_INDEX_COMPRESSION_LEVEL,
        )
        self._at = 0
        self._waiting = np.empty(0, np.uint16)
        self._checksum = label_checksum(edges, self._waiting)

    def append(self, cells: NDArray[np.uint16]) -> None:
        """Add the open cells of the next peaks, uint16, counted from the block's start."""
        if len(self._waiting):
            taken = self._shard - len(self._waiting)
            self._waiting = np.concatenate([self._waiting, cells[:taken]])
            cells = cells[taken:]
            if len(self._waiting) < self._shard:
                return
            self._write(self._waiting)
        whole = len(cells) // self._shard * self._shard
        for start in range(0, whole, self._shard):
            self._write(cells[start : start + self._shard])
        self._waiting = cells[whole:].copy()

    def close(self) -> None:
        """Write what is waiting; all positives must have come."""
        if len(self._waiting):
            self._write(self._waiting)
        if self._at != self._cells.shape[0]:
            raise ValueError(f"{self._at} of {self._cells.shape[0]} positives were written")
        self._cells.attrs[CHECKSUM] = self._checksum

    def _write(self, cells: NDArray[np.uint16]) -> None:
        arrays.write_pieces(self._cells, self._at, cells)
        self._checksum = _with_cells(self._checksum, cells)
        self._at += len(cells)


def finish_atlas(
    place: str,
    shape: AtlasShape,
    *,
    block_positives: Sequence[int],
    sequence_checksums: Sequence[int],
    provenance: Mapping[str, Any],
) -> None:
    """Write what describes the whole, consolidate, and stamp the atlas as complete.

    `sequence_checksums` are what `write_sequences` returned, in the order of the peaks.
    """
    group = urls.open_group(place, mode="r+")
    sequence = arrays.member(group, "sequence", url=place)
    sequence.attrs[CHECKSUM] = list(sequence_checksums)
    group.attrs.update(
        {
            "n_peaks": shape.n_peaks,
            "n_cells": shape.n_cells,
            "window_bp": shape.window_bp,
            "flank_bp": shape.flank_bp,
            "block_cells": shape.block_cells,
            "block_positives": list(block_positives),
        }
    )
    tables.finish(group.store, formats.ATLAS, provenance)


@contextmanager
def write_atlas(
    url: str | Path,
    *,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    cell_blocks: tuple[blocks.CellBlock, ...],
    window_bp: int,
    flank_bp: int,
    provenance: Mapping[str, Any],
    sizes: ArraySizes = ARRAY_SIZES,
) -> Iterator[AtlasWriter]:
    """Write an atlas at `url`; it is there, complete, when the block ends without an error.

    Parameters
    ----------
    url
        Where; nothing may exist there.
    obs
        One row per cell, in the order of the blocks.
    var
        One row per peak: chrom, start, end (0-based half-open), split, and any other columns.
    cell_blocks
        From `blocks.plan_cell_blocks`.
    window_bp, flank_bp
        Length of a peak's window and of what is stored beyond it on either side, in bp.
    provenance
        From `formats.provenance`.
    sizes
        Of the arrays' pieces.

    Raises
    ------
    StoreExistsError
        When something exists at `url`. On any exception nothing is left there.
    """
    shape = AtlasShape(
        n_cells=cell_blocks[-1].stop,
        n_peaks=len(var),
        block_cells=cell_blocks[0].n_cells,
        window_bp=window_bp,
        flank_bp=flank_bp,
        sizes=sizes,
    )
    with staged(url) as place:
        begin_atlas(place, shape, obs=obs, var=var)
        writer = AtlasWriter(place, shape, cell_blocks)
        yield writer
        writer.finish(provenance)


class AtlasWriter:
    """The open end of `write_atlas`."""

    def __init__(
        self, place: str, shape: AtlasShape, cell_blocks: tuple[blocks.CellBlock, ...]
    ) -> None:
        self.cell_blocks = cell_blocks
        self._place, self._shape = place, shape
        self._group = urls.open_group(place, mode="r+")
        self._runs_left = set(self.sequence_runs())
        self._checksums: dict[int, int] = {}
        self._positives: dict[int, int] = {}

    def sequence_runs(self) -> list[tuple[int, int]]:
        """Return the (start, stop) ranges of peaks in which sequences must be written."""
        return self._shape.sequence_runs()

    def write_sequences(self, start: int, codes: NDArray[np.uint8]) -> None:
        """Write the windows of one range of peaks, codes uint8, shape (n, window + 2 flank)."""
        run = (start, start + len(codes))
        if run not in self._runs_left:
            raise ValueError(f"peaks {run} are no run that is still to be written")
        self._checksums[start] = write_sequences(self._group, start, codes)
        self._runs_left.remove(run)

    def write_labels(self, index: int, labels: csr_array) -> None:
        """Write block `index` from its cells' labels, shape (cells of the block, n_peaks).

        Every stored value counts as an open peak; indices must be without duplicates.
        """
        block = self.cell_blocks[index]
        if labels.shape != (block.n_cells, self._shape.n_peaks) or index in self._positives:
            raise ValueError(f"labels of shape {labels.shape} are not those of block {index}")
        by_peak = labels.tocsc()
        edges = by_peak.indptr.astype(np.int64)
        writer = LabelWriter(self._group, index, edges, sizes=self._shape.sizes)
        writer.append(by_peak.indices.astype(np.uint16))
        writer.close()
        self._positives[index] = int(by_peak.nnz)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write what describes the whole, consolidate, and stamp the atlas as complete."""
        if self._runs_left or len(self._positives) != len(self.cell_blocks):
            raise ValueError(
                f"the atlas lacks {len(self._runs_left)} runs of sequences and "
                f"{len(self.cell_blocks) - len(self._positives)} blocks of labels"
            )
        positives = [self._positives[block.index] for block in self.cell_blocks]
        finish_atlas(
            self._place,
            self._shape,
            block_positives=positives,
            sequence_checksums=[crc for _, crc in sorted(self._checksums.items())],
            provenance=provenance,
        )
