"""Expression as the measures take it: log-normalised, and as an embedding of the cells.

It is scanpy's usual way: counts scaled to 10,000 a cell, ``log1p``, principal components of the
genes that vary most. Letters: N cells, G genes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from sklearn.decomposition import PCA
from sklearn.preprocessing import normalize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MOST_VARIABLE",
    "are_counts",
    "expression_components",
    "log_normalised",
    "most_variable",
]

_PER_CELL = 1e4
MOST_VARIABLE = 2_000
"""Genes at most that components are of."""
_COMPONENTS = 50


def are_counts(values: sp.csr_array) -> bool:
    """Whether all values are whole and none is negative: molecules, not yet normalised."""
    data = values.data
    return bool(np.all(data >= 0) and np.all(data == np.rint(data)))


def log_normalised(values: sp.csr_array) -> sp.csr_array:
    """Return ``log1p(1e4 * share of the cell's counts)``, float64 (N, G); other values as given."""
    values = sp.csr_array(values).astype(np.float64)
    if not are_counts(values):
        return values
    found = normalize(values, norm="l1")
    found.data = np.log1p(found.data * _PER_CELL)
    return sp.csr_array(found)


def most_variable(values: sp.csr_array, *, n: int = MOST_VARIABLE) -> NDArray[np.intp]:
    """Return the genes of the largest variance over cells, at most `n`, rising."""
    mean = values.mean(axis=0)
    variance = values.multiply(values).mean(axis=0) - mean**2
    return np.sort(np.argsort(-variance, kind="stable")[:n])


def expression_components(
    values: sp.csr_array, *, n_components: int = _COMPONENTS
) -> NDArray[np.float32]:
    """Return principal components of the 2,000 most variable genes, float32 (N, dim).

    Parameters
    ----------
    values
        Shape (N, G), from `log_normalised`.
    n_components
        At most; fewer where there are fewer cells or genes.
    """
    chosen = sp.csr_array(values[:, most_variable(values)])
    solver = PCA(min(n_components, *chosen.shape), svd_solver="covariance_eigh")
    return np.asarray(solver.fit_transform(chosen), np.float32)
