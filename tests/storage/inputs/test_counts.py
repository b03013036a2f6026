from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import coo_array, csr_array

from atlasstore.errors import CountsError
from atlasstore.inputs.counts import canonical_counts, check_unique


@given(
    dense=arrays(
        np.int64, st.tuples(st.integers(0, 6), st.integers(1, 6)), elements=st.integers(0, 9)
    ),
    dtype=st.sampled_from(["float32", "float64", "int8", "uint64"]),
)
def test_keeps_the_values_and_makes_them_canonical(dense, dtype) -> None:
    made = canonical_counts(csr_array(dense.astype(dtype)), name="x", first_cell=0)
    assert made.dtype == np.int32
    np.testing.assert_array_equal(made.toarray(), dense)


def test_sorts_adds_duplicates_and_drops_zeros_without_touching_its_input() -> None:
    data, indices = np.array([1.0, 2.0, 0.0, 3.0]), np.array([2, 0, 1, 0])
    given_matrix = csr_array((data, indices, np.array([0, 3, 4])), shape=(2, 3))
    made = canonical_counts(given_matrix, name="x", first_cell=0)
    assert made.has_canonical_format
    assert made.nnz == 3
    np.testing.assert_array_equal(made.toarray(), [[2, 0, 1], [3, 0, 0]])
    np.testing.assert_array_equal(given_matrix.indices, [2, 0, 1, 0])
    twice = coo_array(([1, 1], ([0, 0], [1, 1])), shape=(1, 2))
    np.testing.assert_array_equal(
        canonical_counts(twice, name="x", first_cell=0).toarray(), [[0, 2]]
    )


def test_bool_counts_as_zero_and_one() -> None:
    made = canonical_counts(np.array([[True, False]]), name="x", first_cell=0)
    np.testing.assert_array_equal(made.toarray(), [[1, 0]])


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf, 2.0**31, -np.inf])
def test_names_the_cell_the_column_and_the_value(value) -> None:
    dense = np.zeros((3, 4))
    dense[0, 1], dense[2, 3] = 1, value
    with pytest.raises(CountsError, match=rf"^x has {value} at cell 102, peak column 3 "):
        canonical_counts(dense, name="x", first_cell=100)


def test_barcodes_must_be_there_once() -> None:
    assert list(check_unique(["a", "b"], name="x")) == ["a", "b"]
    with pytest.raises(CountsError, match=r"barcode 'a' more than once \(2 repeats"):
        check_unique(["a", "b", "a", "a"], name="x")
    with pytest.raises(CountsError, match="has no cells"):
        check_unique([], name="x")
