"""How well batches mix in the embedding: iLISI and kBET acceptance.

Sources: LISI, Korsunsky et al., Nature Methods 2019; kBET, Buettner et al., Nature Methods 2019;
the paper uses both (docs/method.md, "Measures"). They assume that every batch could occur in every
neighbourhood: compare only batches of like composition.

iLISI: a cell's neighbours are weighted by exp(-beta * distance), beta chosen so that the weights'
entropy is log(perplexity); the score is 1 / (sum over batches of the batch's squared weight), the
effective number of batches around the cell: 1 (unmixed) to the number of batches (even mixing).

kBET: Pearson's chi-square test of each neighbourhood's batch counts against the batches' shares of
all cells; the share of neighbourhoods not rejected. Perfect mixing is accepted at a rate of about
1 - alpha. The neighbourhood size is an argument here (the R package searches one), and every query
cell is tested once (the R package repeats over random tenths of the cells).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import chdtrc

from atlasstore.errors import UserInputError

from ._cells import LabelledCells, labelled_cells
from ._knn import nearest, query_cells

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ._plain import JsonDict

__all__ = ["Ilisi", "Kbet", "ilisi", "kbet"]

_ENTROPY_TOLERANCE = 1e-5
_ENTROPY_STEPS = 50


@dataclass(frozen=True, slots=True)
class Ilisi:
    """Effective number of batches around a cell."""

    mean: float
    """Mean over query cells, 1..n_batches."""
    median: float
    """Median over query cells, 1..n_batches."""
    n_batches: int
    """Batches that occur."""
    perplexity: float
    """As used: smaller than asked where there are too few cells for it."""
    n_neighbors: int
    """Three times the perplexity."""
    n_cells: int
    """Cells with a known batch: those searched."""
    n_queries: int
    """Cells whose neighbours were looked at; fewer than `n_cells` means a sample."""

    def as_json(self) -> JsonDict:
        """Give every field."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Kbet:
    """Share of neighbourhoods whose batch composition does not differ from that of all cells."""

    acceptance: float
    """0 (unmixed) to about 1 - alpha (perfectly mixed)."""
    k: int
    """Neighbours per cell, itself left out."""
    alpha: float
    """Level of the test."""
    smallest_expected: float
    """Expected neighbours of the rarest batch; the chi-square test is rough below 5."""
    n_batches: int
    """Batches that occur."""
    n_cells: int
    """Cells with a known batch: those searched."""
    n_queries: int
    """Cells whose neighbours were looked at; fewer than `n_cells` means a sample."""

    def as_json(self) -> JsonDict:
        """Give every field."""
        return asdict(self)


def ilisi(
    embedding: ArrayLike,
    batches: ArrayLike,
    *,
    perplexity: float = 30.0,
    n_queries: int | None = None,
    seed: int = 0,
) -> Ilisi:
    """Compute iLISI: the perplexity-weighted inverse Simpson index of batches around each cell.

    Parameters
    ----------
    embedding
        float32, shape (N, E).
    batches
        Shape (N,): each cell's batch; cells whose batch is missing are left out.
    perplexity
        Effective number of neighbours, 1 or more; 3 times as many are looked at. With fewer than
        that many other cells it is lowered to a third of them, as the result says.
    n_queries
        Cells to ask; by default all up to 50,000 cells and 10,000 above.
    seed
        Of the sample of query cells.

    Raises
    ------
    UserInputError
        There are fewer than two batches, or four cells, or an argument is out of range.
    """
    known = _batched_cells(embedding, batches)
    if perplexity < 1 or len(known.codes) < 4:
        raise UserInputError(
            f"iLISI needs a perplexity of 1 or more and at least 4 cells; got {perplexity:g} and"
            f" {len(known.codes)}."
        )
    k = min(int(3 * perplexity), len(known.codes) - 1)
    perplexity = min(float(perplexity), k / 3)
    queries = query_cells(len(known.codes), n_queries, seed=seed)
    found = nearest(known.embedding, queries, k=k)
    weights = _perplexity_weights(found.distances, perplexity)
    scores = 1 / _simpson(weights, known.codes[found.cells], n_batches=len(known.names))
    return Ilisi(
        mean=float(scores.mean()),
        median=float(np.median(scores)),
        n_batches=len(known.names),
        perplexity=perplexity,
        n_neighbors=k,
        n_cells=len(known.codes),
        n_queries=len(queries),
    )


def kbet(
    embedding: ArrayLike,
    batches: ArrayLike,
    *,
    k: int = 50,
    alpha: float = 0.05,
    n_queries: int | None = None,
    seed: int = 0,
) -> Kbet:
    """Compute kBET's acceptance rate.

    Parameters
    ----------
    embedding
        float32, shape (N, E).
    batches
        Shape (N,): each cell's batch; cells whose batch is missing are left out.
    k
        Neighbours tested per cell, below the number of cells. Larger neighbourhoods see slighter
        differences, so compare only figures of one k.
    alpha
        Level of the chi-square test, 0..1 exclusive.
    n_queries
        Cells to ask; by default all up to 50,000 cells and 10,000 above.
    seed
        Of the sample of query cells.

    Raises
    ------
    UserInputError
        There are fewer than two batches, or an argument is out of range.
    """
    known = _batched_cells(embedding, batches)
    if not (1 <= k < len(known.codes) and 0 < alpha < 1):
        raise UserInputError(
            f"kBET needs k of 1 or more and below the number of cells ({len(known.codes)}), and"
            f" alpha between 0 and 1; got k = {k}, alpha = {alpha:g}."
        )
    queries = query_cells(len(known.codes), n_queries, seed=seed)
    found = nearest(known.embedding, queries, k=k)
    n_batches = len(known.names)
    expected = np.bincount(known.codes, minlength=n_batches) * (k / len(known.codes))
    observed = _counts(known.codes[found.cells], np.ones(found.cells.shape), n_batches=n_batches)
    statistic = ((observed - expected) ** 2 / expected).sum(axis=1)
    return Kbet(
        acceptance=float((chdtrc(n_batches - 1, statistic) >= alpha).mean()),
        k=k,
        alpha=float(alpha),
        smallest_expected=float(expected.min()),
        n_batches=n_batches,
        n_cells=len(known.codes),
        n_queries=len(queries),
    )


def _batched_cells(embedding: ArrayLike, batches: ArrayLike) -> LabelledCells:
    known = labelled_cells(embedding, batches)
    if len(known.names) < 2:
        raise UserInputError(
            f"Batch mixing needs two batches or more; every cell is of {known.names[0]!r}."
        )
    return known


def _counts(
    codes: NDArray[np.intp], weights: NDArray[np.float64], *, n_batches: int
) -> NDArray[np.float64]:
    """Sum the neighbours' weights by batch: (n_queries, k) to (n_queries, n_batches)."""
    sums = np.zeros((len(codes), n_batches))
    np.add.at(sums, (np.arange(len(codes))[:, None], codes), weights)
    return sums


def _simpson(
    weights: NDArray[np.float64], codes: NDArray[np.intp], *, n_batches: int
) -> NDArray[np.float64]:
    shares = _counts(codes, weights, n_batches=n_batches)
    simpson: NDArray[np.float64] = np.einsum("qb,qb->q", shares, shares)
    return simpson


def _perplexity_weights(distances: NDArray[np.float64], perplexity: float) -> NDArray[np.float64]:
    """Give each row weights exp(-beta d) that sum to 1 with entropy log(perplexity), by bisection.

    Where all neighbours are equally far the entropy cannot fall and the weights stay equal.
    """
    excess = distances - distances.min(axis=1, keepdims=True)
    beta = np.ones((len(excess), 1))
    low, high = np.zeros_like(beta), np.full_like(beta, np.inf)
    for _ in range(_ENTROPY_STEPS):
        weights: NDArray[np.float64] = np.exp(-beta * excess)
        total = weights.sum(axis=1, keepdims=True)
        weights /= total
        entropy = np.log(total) + beta * (excess * weights).sum(axis=1, keepdims=True)
        surplus = entropy - np.log(perplexity)
        if (np.abs(surplus) < _ENTROPY_TOLERANCE).all():
            break
        low, high = np.where(surplus > 0, beta, low), np.where(surplus > 0, high, beta)
        beta = np.where(np.isinf(high), 2 * beta, (low + high) / 2)
    return weights
