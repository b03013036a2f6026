"""An atlas as cells x peaks, block by block, in memory or as a dask array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from atlasstore.atlas.reader import AtlasReader

__all__ = ["block_matrix", "lazy_matrix"]


def block_matrix(atlas: AtlasReader, index: int) -> sparse.csr_matrix:
    """Return one cell block, uint8 CSR of ones, shape (cells of the block, n_peaks)."""
    rows = atlas.labels(index)
    ones = np.ones(len(rows.indices), np.uint8)
    by_peak = sparse.csc_matrix(
        (ones, rows.indices.astype(np.int32), rows.indptr),
        shape=(atlas.blocks[index].n_cells, atlas.n_peaks),
    )
    return by_peak.tocsr()


def lazy_matrix(atlas: AtlasReader) -> Any:
    """Return all cells as a dask array of shape (n_cells, n_peaks), a CSR chunk per block.

    A chunk is read when it is computed, in any process: the atlas travels as its URL.
    """
    import dask.array
    from dask.delayed import delayed

    empty = sparse.csr_matrix((0, 0), dtype=np.uint8)
    read = delayed(block_matrix, pure=True)
    chunks = [
        dask.array.from_delayed(
            read(atlas, block.index), (block.n_cells, atlas.n_peaks), meta=empty
        )
        for block in atlas.blocks
    ]
    return dask.array.concatenate(chunks, axis=0)
