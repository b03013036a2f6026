"""Labels with something taken from them: reads, or where they belong.

The paper trains again on such labels. Rows here are cells x peaks, sparse; letters: N cells, P
peaks.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

__all__ = ["shuffled", "thinned"]


def thinned(labels: sp.csr_array, share: float, *, seed: int) -> sp.csr_array:
    """Keep each open pair with probability `share`: labels of a shallower experiment.

    Parameters
    ----------
    labels
        (N, P); what is stored is open.
    share
        In 0..1.
    seed
        Of the draw; less of one seed is a part of more of it.
    """
    pairs = labels.tocoo()
    kept = np.random.default_rng(seed).random(pairs.nnz) < share
    at = pairs.row[kept], pairs.col[kept]
    return sp.csr_array((np.ones(int(kept.sum()), bool), at), shape=labels.shape)


def shuffled(labels: sp.csr_array, *, seed: int) -> sp.csr_array:
    """Deal each cell's open peaks to peaks at random; the cell keeps their number."""
    rng = np.random.default_rng(seed)
    n_peaks, found = labels.shape[1], sp.csr_array(labels, copy=True)
    sizes = np.diff(found.indptr)
    drawn = [rng.choice(n_peaks, size, replace=False, shuffle=False) for size in sizes]
    columns = np.concatenate([np.empty(0, np.int64), *(np.sort(row) for row in drawn)])
    return sp.csr_array((np.ones(len(columns), bool), columns, found.indptr), shape=found.shape)
