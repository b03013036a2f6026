"""Whether a cell's neighbours share its label, or are its neighbours in another embedding.

Source: docs/method.md, "Measures" (the paper's k = 10, 50, 100).
Letters: N cells, E numbers per cell. Neighbours are exact. Up to 50,000 cells every cell is asked
for its neighbours; above, a seeded sample of 10,000 is, always against all cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError

from ._cells import checked_embedding, labelled_cells
from ._knn import nearest, query_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._plain import JsonDict

__all__ = ["LabelScore", "NeighborScore", "label_score", "neighbor_score"]


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Share of a cell's k nearest neighbours that have its label."""

    mean: dict[int, float]
    """By k: the mean over query cells, 0..1."""
    by_label: dict[str, dict[int, float]]
    """By label, then k: the mean over that label's query cells."""
    chance: float
    """What a random embedding scores: the mean share of a cell's label among the other cells."""
    n_cells: int
    """Cells with a label: those searched."""
    n_queries: int
    """Cells whose neighbours were looked at; fewer than `n_cells` means a sample."""
    n_unlabelled: int
    """Cells left out because their label is missing."""
    ks_left_out: tuple[int, ...]
    """Values of k that are not below `n_cells`."""

    def as_json(self) -> JsonDict:
        """Give everything, with k as text."""
        return {
            "label_score": _by_text(self.mean),
            "by_label": {name: _by_text(shares) for name, shares in self.by_label.items()},
            "chance": self.chance,
            "n_cells": self.n_cells,
            "n_queries": self.n_queries,
            "n_unlabelled": self.n_unlabelled,
            "ks_left_out": list(self.ks_left_out),
        }


@dataclass(frozen=True, slots=True)
class NeighborScore:
    """Share of a cell's k nearest neighbours common to two embeddings."""

    mean: dict[int, float]
    """By k: the mean over query cells, 0..1; k / (N - 1) is what chance gives."""
    n_cells: int
    """Cells searched."""
    n_queries: int
    """Cells whose neighbours were looked at; fewer than `n_cells` means a sample."""
    ks_left_out: tuple[int, ...]
    """Values of k that are not below `n_cells`."""

    def as_json(self) -> JsonDict:
        """Give everything, with k as text."""
        return {
            "neighbor_score": _by_text(self.mean),
            "n_cells": self.n_cells,
            "n_queries": self.n_queries,
            "ks_left_out": list(self.ks_left_out),
        }


def label_score(
    embedding: ArrayLike,
    labels: ArrayLike,
    ks: Sequence[int] = (10, 50, 100),
    *,
    n_queries: int | None = None,
    seed: int = 0,
) -> LabelScore:
    """Compute the mean share of a cell's k nearest neighbours (itself left out) with its label.

    Parameters
    ----------
    embedding
        float32, shape (N, E).
    labels
        Shape (N,): one label per cell. Cells whose label is missing (NaN, None) are left out
        altogether: neither asked nor counted as neighbours.
    ks
        Neighbourhood sizes, 1 or more. Those not below the number of labelled cells are left out
        and named in the result.
    n_queries
        Cells to ask; by default all up to 50,000 cells and 10,000 above.
    seed
        Of the sample of query cells.

    Raises
    ------
    UserInputError
        No k fits, there is not one label per cell, or the embedding is not a finite table.
    """
    known = labelled_cells(embedding, labels)
    used, left_out = _usable(ks, len(known.codes))
    queries = query_cells(len(known.codes), n_queries, seed=seed)
    found = nearest(known.embedding, queries, k=max(used)).cells
    own = known.codes[queries]
    same = known.codes[found] == own[:, None]
    shares = {k: same[:, :k].mean(axis=1) for k in used}
    return LabelScore(
        mean={k: float(share.mean()) for k, share in shares.items()},
        by_label={
            name: {k: float(share[own == code].mean()) for k, share in shares.items()}
            for code, name in enumerate(known.names)
            if (own == code).any()
        },
        chance=_chance(known.codes),
        n_cells=len(known.codes),
        n_queries=len(queries),
        n_unlabelled=known.n_unlabelled,
        ks_left_out=left_out,
    )


def neighbor_score(
    embedding_a: ArrayLike,
    embedding_b: ArrayLike,
    ks: Sequence[int] = (10, 50, 100),
    *,
    n_queries: int | None = None,
    seed: int = 0,
) -> NeighborScore:
    """Compute the mean share of a cell's k nearest neighbours that two embeddings have in common.

    Parameters
    ----------
    embedding_a, embedding_b
        float32, shapes (N, E) and (N, E'): the same cells in the same order (ATAC and RNA, say).
    ks
        Neighbourhood sizes, 1 or more; those not below N are left out and named in the result.
    n_queries
        Cells to ask; by default all up to 50,000 cells and 10,000 above.
    seed
        Of the sample of query cells.

    Raises
    ------
    UserInputError
        No k fits, the two differ in their number of cells, or one is not a finite table.
    """
    first = checked_embedding(embedding_a, name="first embedding")
    second = checked_embedding(embedding_b, name="second embedding")
    if len(first) != len(second):
        raise UserInputError(
            f"The embeddings have {len(first)} and {len(second)} cells; give the same cells twice."
        )
    used, left_out = _usable(ks, len(first))
    queries = query_cells(len(first), n_queries, seed=seed)
    cells = [nearest(table, queries, k=max(used)).cells for table in (first, second)]
    return NeighborScore(
        mean={k: _share_in_common(cells[0][:, :k], cells[1][:, :k]) for k in used},
        n_cells=len(first),
        n_queries=len(queries),
        ks_left_out=left_out,
    )


def _usable(ks: Sequence[int], n_cells: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split ks into those below the number of cells and those left out."""
    wanted = sorted(set(ks))
    used = tuple(k for k in wanted if k < n_cells)
    if not used or wanted[0] < 1:
        raise UserInputError(
            f"Neighbourhoods of k = {', '.join(map(str, wanted)) or 'none'} were asked of"
            f" {n_cells} cells; k must be 1 or more and below the number of cells."
        )
    return used, tuple(k for k in wanted if k >= n_cells)


def _share_in_common(a: NDArray[np.intp], b: NDArray[np.intp]) -> float:
    """Compare rows of distinct entries: a common one stands twice in the sorted union."""
    both = np.sort(np.concatenate([a, b], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum() / a.size)


def _chance(codes: NDArray[np.intp]) -> float:
    counts = np.bincount(codes).astype(np.float64)
    n = counts.sum()
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def _by_text(shares: dict[int, float]) -> dict[str, float]:
    return {str(k): share for k, share in shares.items()}
