from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from atlasbasset.metrics.rna_agreement import rna_agreement


def measured(x: np.ndarray, y: np.ndarray, **options: int):
    sizes = {"n_cells": len(x), "n_genes": x.shape[1]}
    return rna_agreement(x.__getitem__, y.__getitem__, **sizes, **options)


def test_both_axes_are_scipys(rng):
    x = rng.normal(-3, 0.5, (37, 12)).astype(np.float32)
    y = rng.poisson(1, (37, 12)).astype(np.float32) + x
    found = measured(x, y)
    rows = [pearsonr(a, b)[0] for a, b in zip(x.astype(float), y.astype(float), strict=True)]
    columns = [pearsonr(a, b)[0] for a, b in zip(x.T.astype(float), y.T.astype(float), strict=True)]
    np.testing.assert_allclose(found.per_cell, rows, atol=1e-10)
    np.testing.assert_allclose(found.per_gene, columns, atol=1e-10)
    assert found.mean_per_gene == pytest.approx(np.mean(columns))


def test_tiles_of_another_size_give_the_same(rng):
    x, y = rng.normal(size=(2, 41, 7))
    whole = measured(x, y)
    tiled = measured(x, y, tile_elements=3 * 7)
    np.testing.assert_allclose(tiled.per_cell, whole.per_cell, atol=1e-12)
    np.testing.assert_allclose(tiled.per_gene, whole.per_gene, atol=1e-12)


def test_what_does_not_vary_has_no_correlation_and_is_counted(rng):
    x, y = rng.normal(size=(2, 20, 6))
    y[:, 2], x[4], x[5] = 0.3, 0.1, 0.0
    found = measured(x, y)
    assert np.isnan(found.per_gene).nonzero()[0].tolist() == [2]
    assert np.isnan(found.per_cell).nonzero()[0].tolist() == [4, 5]
    as_json = found.as_json()
    assert (as_json["n_cells"], as_json["n_cells_left_out"]) == (20, 2)
    assert as_json["n_genes"] == 6
