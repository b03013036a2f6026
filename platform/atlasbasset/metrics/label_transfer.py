"""Labels of new cells from a reference in the same coordinates: with a confidence and a novelty.

The k nearest reference cells vote, by cosine distance: a cell with few open peaks has a shorter
row, not another direction. Each reference cell is also asked with itself left out, which tells how
often a share of votes was right (confidence, by isotonic regression) and how far neighbours are
within the reference (novelty).

Confidence is conditional on the cell's type being in the reference; novelty says whether it is.

Letters: N reference cells, M new cells, E numbers per cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from atlasstore.errors import UserInputError

from ._cells import checked_embedding, labelled_cells, sample_rows
from ._knn import nearest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["TransferredLabels", "transfer_labels"]


@dataclass(frozen=True, eq=False, slots=True)
class TransferredLabels:
    """Labels of M new cells."""

    label: NDArray[np.object_]
    """(M,): the label with most votes."""
    confidence: NDArray[np.float64]
    """(M,), 0..1: how often reference cells with as large a share of votes were of that label."""
    novelty: NDArray[np.float64]
    """(M,), 0..1: share of reference cells whose neighbours are nearer than the cell's."""
    n_reference: int
    """Reference cells that voted; at most 50,000, a seeded sample of more."""
    accuracy: float
    """Share of reference cells, each left out, that the vote labels right."""


class _Votes(NamedTuple):
    code: NDArray[np.intp]
    share: NDArray[np.float64]
    distance: NDArray[np.float64]
    """Mean over the k neighbours."""


def transfer_labels(
    reference: ArrayLike,
    labels: ArrayLike,
    query: ArrayLike,
    *,
    k: int = 15,
    seed: int = 0,
    most_voting: int = 50_000,
    most_asked: int = 10_000,
) -> TransferredLabels:
    """Label new cells by a vote of their neighbours in a reference.

    Parameters
    ----------
    reference
        float32 (N, E).
    labels
        (N,): cells whose label is missing do not vote.
    query
        float32 (M, E): new cells in the reference's coordinates, as `map_cells` gives them.
    k
        Votes; lowered to the number of reference cells less one.
    seed
        Of the samples of reference cells that vote and that are asked.
    most_voting, most_asked
        Reference cells of those samples.

    Raises
    ------
    UserInputError
        The embeddings differ in width, are not finite tables, or fewer than three cells have a
        label.
    """
    known, asking = labelled_cells(reference, labels), checked_embedding(query, name="new cells")
    rows = sample_rows(len(known.codes), most_voting, seed=seed)
    table, codes = normalize(known.embedding[rows]), known.codes[rows]
    if table.shape[1] != asking.shape[1] or len(table) < 3:
        raise UserInputError(
            f"{len(table)} labelled reference cells of {table.shape[1]} numbers and new cells of "
            f"{asking.shape[1]} were given; give three or more of one width."
        )
    k = min(k, len(table) - 1)
    asked = sample_rows(len(table), most_asked, seed=seed)
    own = nearest(table, asked, k=k)
    within = _votes(codes[own.cells], own.distances)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(table)
    distances, cells = search.kneighbors(normalize(asking))
    found = _votes(codes[cells], distances)
    right = within.code == codes[asked]
    calibrated = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    calibrated.fit(within.share, right)
    return TransferredLabels(
        label=np.array(known.names, dtype=object)[found.code],
        confidence=np.asarray(calibrated.predict(found.share), np.float64),
        novelty=np.searchsorted(np.sort(within.distance), found.distance) / len(asked),
        n_reference=len(table),
        accuracy=float(right.mean()),
    )


def _votes(codes: NDArray[np.intp], distances: NDArray[np.floating]) -> _Votes:
    """Count the votes of neighbours, (cells, k); of equal counts the smaller code wins."""
    n_labels = int(codes.max()) + 1
    at = np.arange(len(codes))[:, None] * n_labels + codes
    counts = np.bincount(at.ravel(), minlength=len(codes) * n_labels).reshape(-1, n_labels)
    share = counts.max(axis=1) / codes.shape[1]
    return _Votes(counts.argmax(axis=1), share, np.asarray(distances, np.float64).mean(axis=1))
