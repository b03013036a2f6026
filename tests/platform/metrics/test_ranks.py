"""Exact auROC and average precision, column by column against scikit-learn.

Tolerance: auROC divides exact counts once and scikit-learn sums a trapezoid of float64 rates, so
the two agree to a few units in the last place; 1e-12 leaves room for thousands of such terms.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, roc_auc_score

from atlasbasset.metrics import ranks

TOLERANCE = 1e-12


def reference(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    auroc, precision = (np.full(scores.shape[1], np.nan) for _ in range(2))
    for column in range(scores.shape[1]):
        y, x = labels[:, column], scores[:, column]
        if y.any() and not y.all():
            auroc[column] = roc_auc_score(y, x)
            precision[column] = average_precision_score(y, x)
    return auroc, precision


def assert_matches_reference(scores: np.ndarray, labels: np.ndarray) -> None:
    expected = reference(scores, labels)
    found = ranks.rank_columns(scores, labels, workers=1)
    np.testing.assert_allclose(found.auroc, expected[0], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.average_precision, expected[1], rtol=0, atol=TOLERANCE)


TABLES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_scores_match_scikit_learn(data: st.DataObject) -> None:
    shape = data.draw(TABLES)
    values = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from(
        [-0.0, 0.0, 1e-45, -1e-45]
    )
    scores = data.draw(hnp.arrays(np.float32, shape, elements=values))
    assert_matches_reference(scores, data.draw(hnp.arrays(np.bool_, shape)))


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_heavy_ties_match_scikit_learn(data: st.DataObject) -> None:
    shape = data.draw(TABLES)
    scores = data.draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 2.0])))
    assert_matches_reference(scores, data.draw(hnp.arrays(np.bool_, shape)))


@pytest.mark.parametrize("density", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("decimals", [0, 2, 8])
def test_a_tile_matches_scikit_learn(
    rng: np.random.Generator, density: float, decimals: int
) -> None:
    scores = rng.normal(size=(3_001, 7)).astype(np.float32).round(decimals)
    assert_matches_reference(scores, rng.random(scores.shape) < density)


def test_hand_known_values() -> None:
    scores = np.array([[0.1], [0.4], [0.35], [0.8]], np.float32)
    labels = np.array([[False], [False], [True], [True]])
    assert ranks.auroc_columns(scores, labels) == [0.75]
    # thresholds down: hit (1/1), miss, hit (2/3): (1 + 2/3) / 2
    assert ranks.average_precision_columns(scores, labels) == pytest.approx([5 / 6], abs=1e-15)


def test_constant_scores_are_half_and_the_share_of_positives() -> None:
    labels = np.array([[True], [False], [False], [False]])
    found = ranks.rank_columns(np.zeros((4, 1), np.float32), labels)
    assert found.auroc == [0.5]
    assert found.average_precision == [0.25]


def test_one_class_has_no_measure() -> None:
    labels = np.array([[True, False, True], [True, False, False]])
    found = ranks.rank_columns(np.ones((2, 3), np.float32), labels)
    assert np.isnan(found.auroc).tolist() == [True, True, False]
    assert np.isnan(found.average_precision).tolist() == [True, True, False]


def test_zeros_of_either_sign_are_one_tie() -> None:
    scores = np.array([[-0.0], [0.0]], np.float32)
    assert ranks.auroc_columns(scores, np.array([[True], [False]])) == [0.5]


def test_infinities_rank_at_the_ends() -> None:
    scores = np.array([[-np.inf], [-3e38], [3e38], [np.inf]], np.float32)
    labels = np.array([[False], [False], [True], [True]])
    assert ranks.auroc_columns(scores, labels) == [1.0]
    assert ranks.auroc_columns(scores, ~labels) == [0.0]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_threads_and_chunks_change_nothing(
    rng: np.random.Generator, workers: int, order: str
) -> None:
    scores = rng.normal(size=(101, 33)).astype(np.float32).round(1)
    labels = rng.random(scores.shape) < 0.3
    whole = ranks.rank_columns(scores, labels)
    found = ranks.rank_columns(
        np.array(scores, order=order),
        np.array(labels, order=order),
        workers=workers,
        chunk_elements=250,
    )
    np.testing.assert_array_equal(found.auroc, whole.auroc)
    np.testing.assert_array_equal(found.average_precision, whole.average_precision)


def test_rows_are_columns_of_the_transpose(rng: np.random.Generator) -> None:
    scores = rng.normal(size=(5, 300)).astype(np.float32)
    labels = rng.random(scores.shape) < 0.3
    np.testing.assert_array_equal(
        ranks.auroc_rows(scores, labels), ranks.auroc_columns(scores.T, labels.T)
    )
    np.testing.assert_array_equal(
        ranks.average_precision_rows(scores, labels),
        ranks.average_precision_columns(scores.T, labels.T),
    )


def test_one_row_of_a_million_cells(rng: np.random.Generator) -> None:
    labels = rng.random((1, 1_000_000)) < 0.02
    scores = (rng.normal(size=labels.shape) + labels).astype(np.float32)
    found = ranks.rank_rows(scores, labels)
    assert found.auroc[0] == pytest.approx(roc_auc_score(labels[0], scores[0]), abs=TOLERANCE)
    expected = average_precision_score(labels[0], scores[0])
    # 20,000 rounded steps each side
    assert found.average_precision[0] == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_tables(shape: tuple[int, int]) -> None:
    found = ranks.rank_columns(np.empty(shape, np.float32), np.empty(shape, np.bool_))
    assert found.auroc.shape == found.average_precision.shape == (shape[1],)
    assert np.isnan(found.auroc).all()


def test_wrong_input_is_refused() -> None:
    scores, labels = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.bool_)
    with pytest.raises(TypeError, match="float32"):
        ranks.rank_columns(scores.astype(np.float64), labels)
    with pytest.raises(TypeError, match="bool"):
        ranks.rank_columns(scores, labels.astype(np.int8))
    with pytest.raises(ValueError, match=r"one shape, peaks x cells"):
        ranks.rank_columns(scores, labels[:2])
    with pytest.raises(ValueError, match="NaN"):
        ranks.rank_columns(np.full((3, 2), np.nan, np.float32), labels)
