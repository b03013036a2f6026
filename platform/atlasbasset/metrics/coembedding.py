"""How near a cell's two modalities come in a space that knows nothing of their pairing.

Source: docs/method.md, "Measures" (the paper's R_c). Letters: N cells, G genes.

The shared space is that of canonical correlation as Seurat computes it: both tables standardised
per gene and then per cell, left and right singular vectors of (cells of one) x (cells of the
other), rows of unit length. The paper goes on from there with anchors and imputed expression; that
step is left out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.metrics import pairwise_distances_chunked
from sklearn.preprocessing import normalize, scale

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._plain import JsonDict

__all__ = ["PairedRanks", "co_embed", "paired_ranks"]


@dataclass(frozen=True, slots=True)
class PairedRanks:
    """R_c: where a cell's other modality stands among all cells', 1 the nearest."""

    mean: float
    """Mean over cells of the mean of the two ranks, 1..N; (N + 1) / 2 by chance."""
    median: float
    """Median over cells."""
    share_nearer: float
    """Mean share of the other cells that are nearer than the cell's own, 0..1; 0.5 by chance."""
    n_cells: int
    """N."""

    def as_json(self) -> JsonDict:
        """Give every field, and the mean by chance."""
        return {**asdict(self), "chance": (self.n_cells + 1) / 2}


def co_embed(
    first: NDArray[np.floating], second: NDArray[np.floating], *, dim: int = 30, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place two tables of the same genes in one space, each cell on its own.

    Parameters
    ----------
    first, second
        Shapes (N, G) and (N', G); genes that do not vary in either bring nothing.
    dim
        Canonical components at most; fewer where there are fewer cells or genes.
    seed
        Of the vector that the decomposition begins at.

    Returns
    -------
    tuple of numpy.ndarray
        float64 (N, dim) and (N', dim), rows of unit length.
    """
    x, y = _standardised(first), _standardised(second)
    shape = len(x), len(y)
    if x.shape[1] <= dim:  # few genes: no more components than the tables have
        dim = x.shape[1] - 1
    cross = LinearOperator(
        shape,
        matvec=lambda v: x @ (y.T @ v),
        rmatvec=lambda v: y @ (x.T @ v),
        dtype=np.float64,
    )
    start = np.random.default_rng(seed).normal(size=min(shape))
    left, _, right = svds(cross, k=min(dim, min(shape) - 1), v0=start, solver="arpack")
    return normalize(left), normalize(right.T)


def paired_ranks(first: NDArray[np.floating], second: NDArray[np.floating]) -> PairedRanks:
    """Rank each cell's own distance among those to all cells of the other modality, both ways.

    Parameters
    ----------
    first, second
        Shape (N, dim): row i of both is cell i. Distances are Euclidean; equal ones share a rank.

    Raises
    ------
    UserInputError
        The two are not of one shape, or there are fewer than two cells.
    """
    if first.shape != second.shape or len(first) < 2:
        raise UserInputError(
            f"Ranks need two modalities of the same cells, two or more; got {first.shape} and "
            f"{second.shape}."
        )
    ranks = (_ranks(first, second) + _ranks(second, first)) / 2
    others = len(first) - 1
    return PairedRanks(
        float(ranks.mean()), float(np.median(ranks)), float((ranks.mean() - 1) / others), len(first)
    )


def _ranks(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rank, for each row of `first`, its partner among the rows of `second`; float64 (N,)."""

    def ranked(distances: NDArray[np.floating], start: int) -> NDArray[np.float64]:
        at = np.arange(len(distances))
        own = distances[at, start + at][:, None]
        nearer, tied = (distances < own).sum(1), (distances == own).sum(1) - 1
        ranks: NDArray[np.float64] = 1 + nearer + tied / 2
        return ranks

    parts = pairwise_distances_chunked(
        np.asarray(first, np.float64), np.asarray(second, np.float64), reduce_func=ranked
    )
    return np.concatenate(list(parts))


def _standardised(table: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scale genes over cells, then cells over genes, to mean 0 and variance 1."""
    by_gene = scale(np.asarray(table, np.float64))
    found: NDArray[np.float64] = scale(by_gene, axis=1)
    return found
