"""Embeddings without sequences, to hold a model's cells against: PCA, LSI, logistic factorisation.

All see labels only, sparse, cells x peaks. Letters: N cells, P peaks, E numbers per cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from atlasbasset.core.newton import SolvedCells, solve_cells
from atlasbasset.core.peak_deviations import solve_peaks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "baselines",
    "logistic_factorisation",
    "lsi",
    "lsi_variants",
    "open_sums",
    "pca",
    "unit_rows",
]

_LOG_SCALE = 1e4
"""Term frequencies are multiplied by it before the logarithm, as Signac does."""


def baselines(
    labels: sp.sparray | sp.spmatrix, *, dim: int = 32, seed: int = 0
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield name and embedding of every baseline, one after another.

    Parameters
    ----------
    labels
        Shape (N, P); what is not zero is open.
    dim
        E at most; fewer where there are fewer cells or peaks.
    seed
        Of the vectors that the exact decompositions begin at: it decides signs only.

    Examples
    --------
    >>> labels = sp.random_array((60, 90), density=0.2, format="csr", rng=0)
    >>> [name for name, _ in baselines(labels, dim=4)]
    ['PCA', 'LSI', 'LSI less 1', 'LSI less 1, unit', 'LSI 2-12, unit', 'logistic factorisation']
    """
    yield "PCA", pca(labels, dim=dim, seed=seed)
    yield from lsi_variants(lsi(labels, dim=dim, seed=seed)).items()
    found = logistic_factorisation(labels, dim=dim, seed=seed)
    yield "logistic factorisation", found.embedding.numpy().astype(np.float32)


def pca(labels: sp.sparray | sp.spmatrix, *, dim: int = 32, seed: int = 0) -> NDArray[np.float32]:
    """Return the cells' principal components, float32 (N, E); labels stay sparse."""
    is_open = _is_open(labels)
    # the one solver that centres sparse tables without filling them
    solver = PCA(_fitting(dim, is_open), svd_solver="arpack", random_state=seed)
    return np.asarray(solver.fit_transform(is_open), np.float32)


def lsi(labels: sp.sparray | sp.spmatrix, *, dim: int = 32, seed: int = 0) -> NDArray[np.float32]:
    """Return left singular vectors times singular values of log TF-IDF, float32 (N, E).

    A cell's term frequency is 1 / its open peaks, a peak's weight
    ``log((N + 1) / (its open cells + 1)) + 1``; their product is scaled by 1e4 and ``log1p`` taken.
    """
    weighted = TfidfTransformer(norm=None).fit_transform(normalize(_is_open(labels), norm="l1"))
    weighted.data = np.log1p(weighted.data * _LOG_SCALE)
    solver = TruncatedSVD(_fitting(dim, weighted), algorithm="arpack", random_state=seed)
    return np.asarray(solver.fit_transform(weighted), np.float32)


def lsi_variants(table: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the usual ways to use LSI's components: the first often is depth.

    Parameters
    ----------
    table
        What `lsi` gave.
    """
    return {
        "LSI": table,
        "LSI less 1": table[:, 1:],
        "LSI less 1, unit": unit_rows(table[:, 1:]),
        "LSI 2-12, unit": unit_rows(table[:, 1:12]),
    }


def unit_rows(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide every row by its Euclidean norm; rows of zeros stay."""
    return np.asarray(normalize(table), np.float32)


def logistic_factorisation(
    labels: sp.sparray | sp.spmatrix,
    *,
    dim: int = 32,
    l2: float = 10.0,
    l2_peaks: float | None = None,
    rounds: int = 4,
    seed: int = 0,
) -> SolvedCells:
    """Factorise the labels' log odds: cells and peaks solved exactly, in turn.

    It is the model without sequences: a peak's embedding is free and held to zero.

    Parameters
    ----------
    l2, l2_peaks
        Weight of half the squared norm of each cell and of each peak; None: the cells'.
    rounds
        Solves of all peaks and then all cells, from the left singular vectors of the labels.

    Returns
    -------
    SolvedCells
        The last solve of the cells.
    """
    is_open = _is_open(labels)
    start = pca(labels, dim=dim, seed=seed)
    w = torch.from_numpy(start / start.std())
    share = (is_open.sum(1) + 0.5) / (is_open.shape[1] + 1)
    intercept = torch.from_numpy(share).logit().float()
    free, held = torch.zeros(is_open.shape[1], w.shape[1]), l2 if l2_peaks is None else l2_peaks
    for _ in range(rounds):
        h = solve_peaks(w, intercept, open_sums(is_open.T, w), free, l2=held).embedding.float()
        cells = solve_cells(h, open_sums(is_open, h), l2=l2)
        w, intercept = cells.embedding.float(), cells.intercept.float()
    return cells


def open_sums(is_open: sp.csr_array, features: torch.Tensor) -> torch.Tensor:
    """Sum ``[f, 1]`` over each row's open columns: what a solve sees of the labels.

    Returns
    -------
    torch.Tensor
        float64 (rows, features + 1).
    """
    ones = np.ones((len(features), 1))
    return torch.from_numpy(is_open @ np.concatenate([features.double().numpy(), ones], axis=1))


def _is_open(labels: sp.sparray | sp.spmatrix) -> sp.csr_array:
    return sp.csr_array(labels != 0).astype(np.float64)


def _fitting(dim: int, table: sp.csr_array) -> int:
    return min(dim, int(min(table.shape)) - 1)
