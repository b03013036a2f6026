"""What a stored matrix says of itself is checked before compiled code trusts it."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr
from scipy.sparse import csr_array

from atlasstore.errors import CorruptStoreError, CountsError
from atlasstore.inputs import open_source
from atlasstore.transpose.read_spans import opened
from atlasstore.transpose.scratch_files import OpenPeaks, Piece, read_piece, write_piece

INPUTS = {
    "csr.h5ad": (lambda sample: sample.h5ad("csr"), "X"),
    "csc.h5ad": (lambda sample: sample.h5ad("csc"), "X"),
    "csr.zarr v2": (lambda sample: sample.zarr("csr", 2), "X"),
    "csr.zarr v3": (lambda sample: sample.zarr("csr", 3), "X"),
    "csc.zarr v3": (lambda sample: sample.zarr("csc", 3), "X"),
    "10x": (lambda sample: sample.tenx_h5(), "matrix"),
}


def change(path, group: str, array: str, values) -> None:
    """Replace an array of an input by what `values` makes of it."""
    is_hdf5 = path.is_file()
    file = h5py.File(path, "r+") if is_hdf5 else zarr.open_group(path, mode="r+")
    was = file[group][array][:]
    made = values(was)
    if made.shape == was.shape and made.dtype == was.dtype:
        file[group][array][...] = made
    else:
        del file[group][array]
        file[group].create_dataset(array, data=made) if is_hdf5 else file[group].create_array(
            array, data=made
        )
    if is_hdf5:
        file.close()


def put(at: int, value):
    def values(was):
        made = was.copy()
        made[at] = value
        return made

    return values


def read_all(path):
    source = open_source(path)
    try:
        return source.read_cells(0, len(source.obs))
    finally:
        source.close()


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("value", [-1, -3, 23, 1000, 2**31 - 1])
def test_an_index_outside_the_matrix_is_named(sample, kind, value) -> None:
    make, group = INPUTS[kind]
    path = make(sample)
    change(path, group, "indices", put(5, value))
    with pytest.raises(CountsError, match=rf"has the index {value} at /{group}/indices\[5\]"):
        read_all(path)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (put(0, 3), "3 at 0, where it must begin with 0"),
        (put(3, -7), "-7 at 3, less than the value before it"),
        (put(3, 10**6), "less than the value before it"),
        (lambda was: np.where(np.arange(len(was)) == len(was) - 1, was[-1] + 1, was), "its end at"),
    ],
    ids=["begin", "negative", "past", "end"],
)
def test_edges_that_do_not_rise_are_named(sample, kind, values, said) -> None:
    make, group = INPUTS[kind]
    path = make(sample)
    change(path, group, "indptr", values)
    with pytest.raises(CountsError, match=rf"has /{group}/indptr with .*{said}"):
        read_all(path)


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize(
    ("array", "values"),
    [
        ("indices", lambda was: was[:-1]),
        ("data", lambda was: was[:-1]),
        ("indices", lambda was: was.astype(np.float64)),
        ("data", lambda was: was.astype(np.complex128)),
        ("indptr", lambda was: was[:-1]),
    ],
    ids=["few indices", "few data", "float", "complex", "few edges"],
)
def test_parts_that_do_not_fit_are_one_sentence(sample, kind, array, values) -> None:
    make, group = INPUTS[kind]
    path = make(sample)
    change(path, group, array, values)
    with pytest.raises(CountsError, match=r"indptr with|cannot be read|says it has"):
        read_all(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("kind", ["csr.h5ad", "csc.h5ad", "csr.zarr v3"])
def test_counts_that_are_not_finite_are_named(sample, kind, value) -> None:
    make, group = INPUTS[kind]
    path = make(sample)
    change(path, group, "data", put(4, np.float32(value)))
    with pytest.raises(
        CountsError, match=r"has -?(nan|inf|1\.0+\S*e\+30) at cell \d+, peak column \d+"
    ):
        read_all(path)


def test_whole_inputs_read_as_before(sample) -> None:
    for make, _ in INPUTS.values():
        np.testing.assert_array_equal(read_all(make(sample)).toarray(), sample.counts)


@pytest.mark.parametrize("column", [11, -1, 2**31 - 1])
def test_columns_past_the_peaks_never_reach_compiled_code(column) -> None:
    counts = csr_array(([1, 1], [0, 1], [0, 1, 2]), shape=(2, 11))
    counts.indices[1] = column  # scipy does not look
    with pytest.raises(CountsError, match="a column outside their 11 peaks"):
        opened(counts, 11)


@pytest.mark.parametrize(
    "opened_peaks",
    [
        OpenPeaks(np.array([2, 1], np.uint32), np.array([4, 11, 0], np.uint32)),
        OpenPeaks(np.array([2, 7], np.uint32), np.array([4, 1, 0], np.uint32)),
        OpenPeaks(np.array([2, 2**32 - 2], np.uint32), np.array([4, 1, 0], np.uint32)),
    ],
    ids=["column", "more than there are", "overflow"],
)
def test_a_scratch_file_of_other_peaks_is_refused(tmp_path, opened_peaks) -> None:
    write_piece(str(tmp_path), "p", opened_peaks)
    with pytest.raises(CorruptStoreError, match="is not what was written"):
        read_piece(str(tmp_path), Piece("p", 2, 3), n_peaks=11)
