from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from atlasbasset.verbs.variants.cell_table import CellTable


@pytest.mark.parametrize("n_strands", [1, 2])
@pytest.mark.parametrize("values_at_once", [1, 4 * 5, 1 << 21])
def test_effects_are_means_over_cells_however_many_are_held(rng, n_strands, values_at_once):
    counts = np.array([3, 1, 7])
    embedding = rng.normal(size=(11, 4)).astype(np.float32)
    intercept = rng.normal(size=11).astype(np.float32)
    h = rng.normal(size=(5, n_strands, 2, 4)).astype(np.float32)
    found = CellTable(embedding, intercept, counts).sigmoid_effects(
        h, values_at_once=values_at_once
    )
    predicted = expit(h.astype(float) @ embedding.T.astype(float) + intercept)
    change = (predicted[:, :, 1] - predicted[:, :, 0]).mean(1)
    wanted = [part.mean(1) for part in np.split(change, np.cumsum(counts)[:-1], axis=1)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack(wanted, axis=1), atol=1e-6)
