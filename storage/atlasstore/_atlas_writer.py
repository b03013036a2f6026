"""Writing an atlas: tables and empty arrays first, then rows in shard-aligned runs, the stamp last.

The layout is described in ``docs/atlas-store.md``. The caller brings sequences and labels in any
order, one run or block at a time; nothing larger is ever held here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasstore import anndata_io, arrays, blocks, formats, urls
from atlasstore.sequences import codes_to_onehot
from atlasstore.staging import staged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = ["AtlasWriter", "label_arrays", "sequence_rows", "write_atlas"]

_CHUNK_BYTES = 1 << 20
_SEQUENCE_SHARD_BYTES = 48 << 20
_INDEX_SHARD_BYTES = 32 << 20
_INDPTR_CHUNK = 131_072


def sequence_rows(n_peaks: int, stored_bp: int) -> tuple[int, int]:
    """Return (peaks in a chunk, peaks in a shard) of the sequence array."""
    return blocks.chunk_and_shard(
        n_peaks, stored_bp * 4, chunk_bytes=_CHUNK_BYTES, shard_bytes=_SEQUENCE_SHARD_BYTES
    )


def label_arrays(index: int) -> tuple[str, str]:
    """Return the names of block `index`'s (indptr, indices)."""
    return f"labels/{index}/indptr", f"labels/{index}/indices"


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
) -> Iterator[AtlasWriter]:
    """Write an atlas at `url`; it is there, complete, when the block ends without an error.

    Parameters
    ----------
    url
        Where; nothing may lie there.
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

    Raises
    ------
    StoreExistsError
        When anything lies at `url`. On any exception nothing is left there.
    """
    with staged(url) as place:
        writer = AtlasWriter(place, len(var), cell_blocks, window_bp=window_bp, flank_bp=flank_bp)
        writer.write_tables(obs, var)
        yield writer
        writer.finish(provenance)


class AtlasWriter:
    """The open end of `write_atlas`."""

    def __init__(
        self,
        place: str,
        n_peaks: int,
        cell_blocks: tuple[blocks.CellBlock, ...],
        *,
        window_bp: int,
        flank_bp: int,
    ) -> None:
        self.cell_blocks = cell_blocks
        self._group = urls.create_group(place)
        formats.begin(self._group, formats.ATLAS)
        self._n_peaks, self._window_bp, self._flank_bp = n_peaks, window_bp, flank_bp
        stored_bp = window_bp + 2 * flank_bp
        chunk, self._run_peaks = sequence_rows(n_peaks, stored_bp)
        self._sequence = arrays.create_array(
            self._group,
            "sequence",
            shape=(n_peaks, stored_bp, 4),
            dtype=np.bool_,
            chunk_rows=chunk,
            shard_rows=self._run_peaks,
            axes=("peak", "position", "base"),
        )
        self._runs_left = set(self.sequence_runs())
        self._positives: dict[int, int] = {}

    def sequence_runs(self) -> list[tuple[int, int]]:
        """Return the (start, stop) runs of peaks in which sequences must be written."""
        return list(blocks.runs(self._n_peaks, self._run_peaks))

    def write_tables(self, obs: pd.DataFrame, var: pd.DataFrame) -> None:
        """Write the cells' and the peaks' tables."""
        n_cells = self.cell_blocks[-1].stop
        if len(obs) != n_cells or len(var) != self._n_peaks:
            raise ValueError(f"{len(obs)} rows of obs and {len(var)} of var do not fit the plan")
        anndata_io.write_table(self._group, "obs", obs)
        anndata_io.write_table(self._group, "var", var)

    def write_sequences(self, start: int, codes: NDArray[np.uint8]) -> None:
        """Write the windows of one run of peaks, codes uint8, shape (n, window + 2 flank)."""
        run = (start, start + len(codes))
        if run not in self._runs_left:
            raise ValueError(f"peaks {run} are no run that is still to be written")
        self._sequence[run[0] : run[1]] = codes_to_onehot(codes)
        self._runs_left.remove(run)

    def write_labels(self, index: int, labels: csr_array) -> None:
        """Write block `index` from its cells' labels, shape (cells of the block, n_peaks).

        Every stored value counts as an open peak; indices must be without duplicates.
        """
        block = self.cell_blocks[index]
        if labels.shape != (block.n_cells, self._n_peaks) or index in self._positives:
            raise ValueError(f"labels of shape {labels.shape} are not those of block {index}")
        by_peak = labels.tocsc()
        self._write_label_arrays(index, by_peak.indptr, by_peak.indices)
        self._positives[index] = int(by_peak.nnz)

    def _write_label_arrays(
        self, index: int, indptr: NDArray[np.integer[Any]], indices: NDArray[np.integer[Any]]
    ) -> None:
        indptr_name, indices_name = label_arrays(index)
        pointer = arrays.create_array(
            self._group,
            indptr_name,
            shape=indptr.shape,
            dtype=np.int64,
            chunk_rows=min(_INDPTR_CHUNK, len(indptr)),
            fill_value=-1,
            axes=("peak_edge",),
        )
        pointer[:] = indptr.astype(np.int64)
        chunk, shard = blocks.chunk_and_shard(
            len(indices), 2, chunk_bytes=_CHUNK_BYTES, shard_bytes=_INDEX_SHARD_BYTES
        )
        cells = arrays.create_array(
            self._group,
            indices_name,
            shape=indices.shape,
            dtype=np.uint16,
            chunk_rows=chunk,
            shard_rows=shard,
            fill_value=blocks.MAX_BLOCK_CELLS - 1,
            axes=("positive",),
        )
        cells[:] = indices.astype(np.uint16)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Write what describes the whole, consolidate, and stamp the atlas as complete."""
        if self._runs_left or len(self._positives) != len(self.cell_blocks):
            raise ValueError(
                f"the atlas lacks {len(self._runs_left)} runs of sequences and "
                f"{len(self.cell_blocks) - len(self._positives)} blocks of labels"
            )
        self._group.attrs.update(
            {
                "n_peaks": self._n_peaks,
                "n_cells": self.cell_blocks[-1].stop,
                "window_bp": self._window_bp,
                "flank_bp": self._flank_bp,
                "block_cells": self.cell_blocks[0].n_cells,
                "block_positives": [self._positives[b.index] for b in self.cell_blocks],
            }
        )
        anndata_io.finish(self._group.store, formats.ATLAS, provenance)
