"""Prediction quality from factors, against the dense table and scikit-learn."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import average_precision_score, roc_auc_score

from atlasbasset.metrics import (
    FactoredScores,
    SparseLabels,
    evaluate_scores,
    mean_auroc_per_cell,
)
from atlasstore.events import Progress

P, N, E = 61, 43, 8


@pytest.fixture
def factors(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h, embedding = rng.normal(size=(P, E)), rng.normal(size=(N, E))
    return h.astype("f4"), embedding.astype("f4"), rng.normal(size=N).astype("f4")


@pytest.fixture
def labels(rng: np.random.Generator, factors: tuple) -> np.ndarray:
    h, embedding, intercept = factors
    logits = h @ embedding.T + intercept
    drawn = rng.random((P, N)) < 1 / (1 + np.exp(-logits))
    drawn[6] = False
    drawn[:, 3], drawn[5] = False, True
    drawn[5, 3] = False
    return drawn


def test_factored_tiles_are_the_dense_product(factors: tuple) -> None:
    source = FactoredScores(*factors)
    h, embedding, intercept = (x.astype(np.float64) for x in factors)
    dense = h @ embedding.T + intercept
    # float32 products of 8 terms of order 1: 1e-5 is about 30 rounding steps
    np.testing.assert_allclose(source.cells(7, 20), dense[:, 7:20], atol=1e-5)
    np.testing.assert_allclose(source.peaks(7, 20), dense[7:20], atol=1e-5)
    assert source.cells(7, 20).dtype == source.peaks(7, 20).dtype == np.float32
    assert (source.n_peaks, source.n_cells) == (P, N)


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_array, sp.coo_matrix])
def test_sparse_labels_unpack_what_went_in(labels: np.ndarray, form: type) -> None:
    source = SparseLabels(form(labels.astype(np.float32) * 3))
    np.testing.assert_array_equal(source.cells(4, 11), labels[:, 4:11])
    np.testing.assert_array_equal(source.peaks(4, 11), labels[4:11])
    assert source.cells(0, N).dtype == np.bool_
    assert source.cells(5, 5).shape == (P, 0)


def test_stored_zeros_are_not_labels() -> None:
    matrix = sp.csr_array((np.array([0, 2]), np.array([0, 1]), np.array([0, 2])), shape=(1, 2))
    assert SparseLabels(matrix).peaks(0, 1).tolist() == [[False, True]]


@pytest.mark.parametrize("tile_elements", [1, 100, 1 << 23])
def test_quality_matches_scikit_learn_whatever_the_tiles(
    factors: tuple, labels: np.ndarray, tile_elements: int
) -> None:
    source = SparseLabels(sp.csr_array(labels))
    found = evaluate_scores(FactoredScores(*factors), source, tile_elements=tile_elements)
    h, embedding, intercept = factors
    logits = h @ embedding.T + intercept
    for per, count, axis in (("cell", N, 1), ("peak", P, 0)):
        for name, judge in (("auroc", roc_auc_score), ("aupr", average_precision_score)):
            expected = np.full(count, np.nan)
            for i in range(count):
                y, x = labels.take(i, axis), logits.take(i, axis)
                if y.any() and not y.all():
                    expected[i] = judge(y, x)
            # continuous logits this few have no near-ties that another product order could swap
            np.testing.assert_allclose(getattr(found, f"{name}_per_{per}"), expected, atol=1e-12)


def test_one_class_is_left_out_and_counted(factors: tuple, labels: np.ndarray) -> None:
    found = evaluate_scores(FactoredScores(*factors), SparseLabels(sp.csr_array(labels)))
    one_class = [len(np.unique(column)) == 1 for column in labels.T]
    assert found.n_cells_left_out == sum(one_class) >= 1
    assert found.n_peaks_left_out == 1  # peak 6; peak 5 lacks cell 3 and so has both
    assert found.mean_auroc_per_cell == np.nanmean(found.auroc_per_cell)
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert told["auroc_per_peak"] == found.mean_auroc_per_peak
    assert (told["n_cells"], told["n_peaks"], told["n_peaks_left_out"]) == (N, P, 1)


def test_means_over_nothing_are_null_in_json(factors: tuple) -> None:
    nothing = SparseLabels(sp.csr_array((P, N), dtype=bool))
    told = evaluate_scores(FactoredScores(*factors), nothing).as_json()
    assert told["auroc_per_cell"] is told["aupr_per_peak"] is None
    assert (told["n_cells_left_out"], told["n_peaks_left_out"]) == (N, P)
    assert np.isnan(mean_auroc_per_cell(*factors, nothing))


def test_the_mean_of_an_epoch_is_the_mean_of_all_cells(factors: tuple, labels: np.ndarray) -> None:
    source = SparseLabels(sp.csr_array(labels))
    whole = evaluate_scores(FactoredScores(*factors), source).mean_auroc_per_cell
    tiled = mean_auroc_per_cell(*factors, source, tile_elements=300)
    assert tiled == pytest.approx(whole, abs=1e-12)


def test_memory_holds_tiles_not_the_table(rng: np.random.Generator) -> None:
    h, embedding = (rng.normal(size=(n, E)).astype(np.float32) for n in (500, 10_000))
    source = FactoredScores(h, embedding, np.zeros(10_000, np.float32))
    labels = SparseLabels(sp.random_array((500, 10_000), density=0.01, format="csr", rng=rng))
    tracemalloc.start()
    try:
        evaluate_scores(source, labels, workers=2, tile_elements=1 << 17)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # tile: 4 bytes a score, 1 a label; chunk: about 24 bytes a score, of at most a tile's;
    # results: 8 bytes twice for each cell and peak. The dense scores alone would be 20 MB.
    assert peak < 4e6


def test_progress_reaches_the_end(factors: tuple, labels: np.ndarray) -> None:
    heard: list[object] = []
    source = SparseLabels(sp.csr_array(labels))
    evaluate_scores(FactoredScores(*factors), source, on_event=heard.append)
    assert heard == [
        Progress("ranking cells", N, N, "cells"),
        Progress("ranking peaks", P, P, "peaks"),
    ]


def test_shapes_that_do_not_fit_are_refused(factors: tuple, labels: np.ndarray) -> None:
    h, embedding, intercept = factors
    with pytest.raises(ValueError, match=r"Factors must be h \(P, E\)"):
        FactoredScores(h, embedding[:, :3], intercept)
    with pytest.raises(ValueError, match=r"Factors must be h \(P, E\)"):
        FactoredScores(h, embedding, intercept[:3])
    with pytest.raises(ValueError, match=f"61 peaks x 43 cells but labels are 60 x {N}"):
        evaluate_scores(FactoredScores(*factors), SparseLabels(sp.csr_array(labels[1:])))
