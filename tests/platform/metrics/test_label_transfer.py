"""Cells are drawn from a logistic model with types, depths and noise, and solved as `map` does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

from atlasbasset.core.newton import solve_cells
from atlasbasset.metrics.baselines import lsi, open_sums, unit_rows
from atlasbasset.metrics.label_transfer import transfer_labels
from atlasstore.errors import UserInputError

N, P, E, TYPES = 900, 700, 16, 6


class Cells(NamedTuple):
    """Solved cells and their types."""

    embedding: np.ndarray
    types: np.ndarray
    is_open: sp.csr_array


def made(spread: float) -> Cells:
    rng = np.random.default_rng(11)
    h = rng.normal(size=(P, E)).astype(np.float32)
    centres = spread * rng.normal(size=(TYPES, E))
    types = rng.integers(0, TYPES, N)
    w = centres[types] + 0.1 * rng.normal(size=(N, E))
    depth = rng.normal(-3.3, 0.6, N)
    is_open = rng.random((N, P)) < 1 / (1 + np.exp(-(w @ h.T + depth[:, None])))
    basis, labels = torch.from_numpy(h), sp.csr_array(is_open)
    solved = solve_cells(basis, open_sums(labels.astype(np.float64), basis), l2=10.0)
    return Cells(solved.embedding.float().numpy(), types, labels)


@pytest.fixture(scope="module")
def cells() -> Cells:
    """About 5 % of the pairs are open; types overlap a little."""
    return made(0.2)


@pytest.fixture(scope="module")
def alike() -> Cells:
    """Types that overlap much."""
    return made(0.15)


def names(types: np.ndarray) -> np.ndarray:
    return np.array([f"type{t}" for t in types], dtype=object)


def dealt(n: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(2).permutation(n)
    return np.sort(order[: 2 * n // 3]), np.sort(order[2 * n // 3 :])


@pytest.mark.parametrize("left_out", range(TYPES))
def test_a_type_that_the_reference_lacks_is_novel(cells, left_out):
    reference, query = dealt(N)
    reference = reference[cells.types[reference] != left_out]
    found = transfer_labels(
        cells.embedding[reference], names(cells.types[reference]), cells.embedding[query]
    )
    assert roc_auc_score(cells.types[query] == left_out, found.novelty) >= 0.9


def transferred(cells: Cells):
    reference, query = dealt(N)
    found = transfer_labels(
        cells.embedding[reference], names(cells.types[reference]), cells.embedding[query]
    )
    return found, found.label == names(cells.types[query])


def test_confidence_is_how_often_labels_are_right(alike):
    found, right = transferred(alike)
    assert right.mean() == pytest.approx(found.accuracy, abs=0.05)
    assert 0.7 < right.mean() < 0.9
    for low, high in ((0, 0.6), (0.6, 0.9), (0.9, 1.01)):
        some = (low <= found.confidence) & (found.confidence < high)
        assert some.sum() > 50
        assert found.confidence[some].mean() == pytest.approx(right[some].mean(), abs=0.1)


def test_novelty_of_cells_that_are_not_new_is_even(alike):
    assert transferred(alike)[0].novelty.mean() == pytest.approx(0.5, abs=0.05)


def test_better_than_neighbours_in_lsi(alike):
    reference, query = dealt(N)
    table = unit_rows(lsi(alike.is_open, dim=E)[:, 1:])  # of both together: LSI has no map
    vote = KNeighborsClassifier(15, algorithm="brute").fit(table[reference], alike.types[reference])
    by_lsi = vote.score(table[query], alike.types[query])
    assert transferred(alike)[1].mean() > by_lsi + 0.05


def test_votes_are_scikit_learns(cells):
    reference, query = dealt(N)
    found = transfer_labels(
        cells.embedding[reference], names(cells.types[reference]), cells.embedding[query], k=7
    )
    vote = KNeighborsClassifier(7, metric="cosine").fit(
        cells.embedding[reference], names(cells.types[reference]).astype(str)
    )
    assert (found.label == vote.predict(cells.embedding[query])).mean() > 0.995


def test_cells_without_a_label_do_not_vote(cells):
    labels = names(cells.types)
    labels[cells.types == 2] = None
    found = transfer_labels(cells.embedding, labels, cells.embedding[:50])
    assert "type2" not in found.label
    assert found.n_reference == int((cells.types != 2).sum())


def test_many_reference_cells_are_sampled(cells):
    sizes = {"most_voting": 200, "most_asked": 100}
    found = transfer_labels(cells.embedding, names(cells.types), cells.embedding[:300], **sizes)
    assert found.n_reference == 200
    assert (found.label == names(cells.types[:300])).mean() > 0.8


def test_embeddings_of_other_widths_are_refused(cells):
    with pytest.raises(UserInputError, match="of one width"):
        transfer_labels(cells.embedding, names(cells.types), cells.embedding[:, :5])
