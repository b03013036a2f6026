from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from atlasbasset.metrics.changed_labels import shuffled, thinned


@pytest.fixture
def labels(rng):
    return sp.csr_array(rng.random((60, 400)) < rng.uniform(0, 0.4, (60, 1)))


def test_a_share_of_the_open_pairs_is_kept(labels):
    some, few = (thinned(labels, share, seed=3) for share in (0.6, 0.1))
    assert some.nnz / labels.nnz == pytest.approx(0.6, abs=0.03)
    assert few.nnz / labels.nnz == pytest.approx(0.1, abs=0.02)
    assert not (some.toarray() & ~labels.toarray()).any()
    assert not (few.toarray() & ~some.toarray()).any()
    assert (thinned(labels, 1.0, seed=0) != labels).nnz == 0


def test_shuffling_keeps_each_cell_s_depth_and_no_place(labels):
    found = shuffled(labels, seed=1).toarray()
    np.testing.assert_array_equal(found.sum(1), labels.toarray().sum(1))
    both = (found & labels.toarray()).sum(1)
    expected = labels.toarray().sum(1) ** 2 / 400
    assert both.sum() == pytest.approx(expected.sum(), rel=0.1)


def test_cells_without_open_peaks_stay_so():
    empty = sp.csr_array(np.zeros((3, 5), bool))
    assert shuffled(empty, seed=0).nnz == thinned(empty, 0.5, seed=0).nnz == 0
