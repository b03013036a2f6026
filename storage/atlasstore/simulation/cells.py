"""Who the cells are, and their counts, in blocks that cost what their fragments cost.

A cell's total is Poisson(depth); each fragment then falls on peak p with probability w[t,b,p], by
a search in the cumulative sum of w. That is the same distribution as one Poisson per cell and
peak, without ever looking at the empty ones: time and memory go with the fragments.

Cells come in blocks of `BLOCK_CELLS`, each from random streams of its own, so the counts do not
depend on how many blocks are made at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from atlasstore.simulation.config import Stream, stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasstore.simulation.truth import Truth

__all__ = ["BLOCK_CELLS", "CountSampler", "cell_table"]

BLOCK_CELLS = 1024


def cell_table(truth: Truth) -> pd.DataFrame:
    """Draw every cell's type, batch (both categorical) and depth (expected fragments in peaks)."""
    config = truth.config
    rng = stream(config.seed, Stream.CELLS)
    types = rng.choice(len(truth.cell_types), size=config.n_cells, p=truth.type_shares)
    batches = rng.integers(0, config.n_batches, config.n_cells)
    if config.batch_mix:  # a stream of its own: nothing else changes
        types = _types_in(batches, truth.batch_shares, stream(config.seed, Stream.BATCH_SHARES, 1))
    depth = truth.median_depth * rng.lognormal(0.0, config.depth_sd, config.n_cells)
    digits = len(str(config.n_cells))
    columns = {
        "cell_type": pd.Categorical.from_codes(types, categories=pd.Index(truth.cell_types)),
        "batch": pd.Categorical.from_codes(batches, categories=pd.Index(truth.batches)),
        "depth": depth,
    }
    names = [f"cell{i + 1:0{digits}d}" for i in range(config.n_cells)]
    return pd.DataFrame(columns, index=pd.Index(names, name="barcode"))


def _types_in(
    batches: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw each cell's type by its batch's shares."""
    types = np.zeros_like(batches)
    for batch, own in enumerate(shares):
        here = np.flatnonzero(batches == batch)
        types[here] = rng.choice(own.size, size=here.size, p=own)
    return types


class CountSampler:
    """Draws the counts of the cells of `obs`, block by block.

    Holds one float64 per cell type, batch and peak.
    """

    def __init__(self, truth: Truth, obs: pd.DataFrame) -> None:
        self._seed = truth.config.seed
        self._n_peaks = len(truth.peaks)
        rates = truth.all_rates().reshape(-1, self._n_peaks)
        cumulative = np.cumsum(rates, axis=1)
        self._cumulative = cumulative[:, :-1] / cumulative[:, -1:]
        types, batches = (obs[key].cat.codes.to_numpy() for key in ("cell_type", "batch"))
        self._profile = types.astype(np.int64) * len(truth.batches) + batches
        self._depth = obs["depth"].to_numpy()

    @property
    def n_blocks(self) -> int:
        """Blocks in all."""
        return -(-self._depth.size // BLOCK_CELLS)

    def block(self, index: int) -> csr_array:
        """Return the counts of one block: int32, shape (cells, n_peaks), canonical."""
        rng = stream(self._seed, Stream.COUNTS, index)
        cells = slice(index * BLOCK_CELLS, (index + 1) * BLOCK_CELLS)
        ends = np.cumsum(rng.poisson(self._depth[cells]))
        keys = np.empty(int(ends[-1]), dtype=np.int64)
        for cell, (profile, end) in enumerate(zip(self._profile[cells], ends, strict=True)):
            start = ends[cell - 1] if cell else 0
            # Ascending draws: the search is several times faster, and the keys come out sorted.
            draws = np.sort(rng.random(end - start))
            peak = self._cumulative[profile].searchsorted(draws, side="right")
            keys[start:end] = cell * self._n_peaks + peak
        return _counted(keys, ends.size, self._n_peaks)


def _counted(keys: NDArray[np.int64], n_cells: int, n_peaks: int) -> csr_array:
    """Return the matrix of how often each ``cell * n_peaks + peak`` of the sorted keys occurs."""
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    data = np.diff(first, append=keys.size).astype(np.int32)
    cell, peak = np.divmod(keys[first], n_peaks)
    indptr = np.searchsorted(cell, np.arange(n_cells + 1))
    return csr_array((data, peak.astype(np.int32), indptr), shape=(n_cells, n_peaks))
