"""Writing ``counts.h5ad`` run by run: nothing but the run at hand is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import anndata
import h5py
import numpy as np
from anndata.io import sparse_dataset, write_elem
from scipy.sparse import csr_matrix, vstack

from atlasstore.events import Progress, Subscriber
from atlasstore.simulation.cells import BLOCK_CELLS, CountSampler

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["CountTotals", "write_counts"]

_VALUES_PER_CHUNK = 1 << 16
_COMPRESSION = {"chunks": (_VALUES_PER_CHUNK,), "compression": "gzip", "compression_opts": 1}
"""gzip, which every HDF5 reader has, with bytes shuffled; level 1 is most of the gain."""


class CountTotals(NamedTuple):
    """What was written."""

    n_fragments: int
    n_open: int


def write_counts(
    path: Path,
    sampler: CountSampler,
    *,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    blocks_per_write: int,
    on_event: Subscriber,
) -> CountTotals:
    """Write an AnnData file with X csr int32, `blocks_per_write` blocks of cells at a time."""
    anndata.AnnData(obs=obs, var=var).write_h5ad(path)
    n_fragments = n_open = 0
    with h5py.File(path, "r+") as file:
        for first in range(0, sampler.n_blocks, blocks_per_write):
            stop = min(first + blocks_per_write, sampler.n_blocks)
            counts = csr_matrix(
                vstack([sampler.block(i) for i in range(first, stop)], format="csr")
            )
            _append(file, counts)
            n_fragments += int(counts.data.sum())
            n_open += counts.nnz
            done = min(stop * BLOCK_CELLS, len(obs))
            on_event(Progress("sampling counts", done, len(obs), "cells"))
    return CountTotals(n_fragments, n_open)


def _append(file: h5py.File, counts: csr_matrix) -> None:
    if "X" in file and isinstance(file["X"], h5py.Group):
        sparse_dataset(file["X"]).append(counts)
        return
    options = {**_COMPRESSION, "shuffle": True, "indptr_dtype": np.int64}
    write_elem(file, "X", counts, dataset_kwargs=options)
