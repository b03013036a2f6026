"""A compressed sparse matrix as HDF5 or zarr stores it: data, indices, indptr, read by its edges.

Rows of CSR, columns of CSC: both are runs of entries. What is stored is checked before it goes
into compiled code, which trusts indices unread: a wrong one there writes over other memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from atlasstore.errors import CountsError
from atlasstore.inputs.counts import without_halves
from atlasstore.inputs.declared import check_inside, check_slice, refuse_links
from atlasstore.inputs.hdf5 import readable

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

__all__ = ["CompressedMatrix", "check_indices"]


class CompressedMatrix:
    """The runs of a compressed matrix.

    Parameters
    ----------
    group
        Holds ``data``, ``indices``, ``indptr``; an open HDF5 or zarr group.
    shape
        (runs, length of a run): rows and columns of CSR, columns and rows of CSC.
    name
        Of the input, for messages.

    Raises
    ------
    CountsError
        When the three do not fit each other or the shape.
    """

    def __init__(self, group: Any, shape: tuple[int, int], *, name: str) -> None:
        self.n_runs, self.length = shape
        self._name, self._where = name, str(group.name).rstrip("/")
        with readable(name, what=f"a matrix {self._where}"):
            refuse_links(group, name=name)
            self._data, self._indices = group["data"], group["indices"]
            for array in (self._data, self._indices):
                check_inside(array, name=name, whole=False)
            check_inside(group["indptr"], name=name)
            self._check_kinds(self._data, self._indices, group["indptr"])
            self.indptr: Ints = np.asarray(group["indptr"][:]).astype(np.int64)
        self._check_edges()

    def read(self, start: int, stop: int, *, unit: str = "cells") -> csr_array:
        """Return runs [start, stop) as rows, shape (stop - start, length).

        Parameters
        ----------
        start, stop
            Which runs.
        unit
            What messages call them.

        Raises
        ------
        CountsError
            When they cannot be read, or an index is outside the matrix.
        """
        begin, end = int(self.indptr[start]), int(self.indptr[stop])
        check_slice((self._data, self._indices), begin, end, name=self._name)
        with readable(self._name, what=f"counts of {unit} {start}-{stop}"):
            data = without_halves(self._data[begin:end])
            indices = self._indices[begin:end]
        where = f"{self._where}/indices"
        check_indices(indices, self.length, first=begin, where=where, name=self._name)
        indptr = self.indptr[start : stop + 1] - begin
        return csr_array((data, indices, indptr), shape=(stop - start, self.length))

    def _check_kinds(self, *arrays: Any) -> None:
        data, indices, indptr = arrays
        flat = all(len(array.shape) == 1 for array in arrays)
        if (
            not flat
            or data.dtype.kind not in "biuf"
            or {indices.dtype.kind, indptr.dtype.kind} - {*"iu"}
        ):
            kinds = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
            raise ValueError(f"data, indices and indptr are {kinds}, not three lists of numbers")

    def _check_edges(self) -> None:
        """Refuse row starts that do not begin at 0 and rise to the number of entries."""
        sizes = (int(self._data.shape[0]), int(self._indices.shape[0]))
        edges, where = self.indptr, f"{self._name} has {self._where}/indptr"
        if len(edges) != self.n_runs + 1:
            said = f"{len(edges):,} values where {self.n_runs + 1:,} are needed"
        elif edges[0] != 0:
            said = f"{edges[0]} at 0, where it must begin with 0"
        elif (falls := np.flatnonzero(np.diff(edges) < 0)).size:
            at = int(falls[0]) + 1
            said = f"{edges[at]} at {at}, less than the value before it"
        elif {int(edges[-1])} != {*sizes}:
            said = f"its end at {edges[-1]:,}, but {sizes[0]:,} data and {sizes[1]:,} indices"
        else:
            return
        raise CountsError(
            f"{where} with {said}; the file is damaged: copy or download it again, or write it "
            "again."
        )


def check_indices(
    indices: npt.NDArray[Any], length: int, *, first: int, where: str, name: str
) -> None:
    """Refuse an index outside [0, length).

    Parameters
    ----------
    indices
        Any integer dtype, shape (n,).
    length
        Of the axis that they count along.
    first
        The place of the first of them in the stored array.
    where, name
        The array and its input, for messages.

    Raises
    ------
    CountsError
        It names the array, the place and the value.
    """
    if not indices.size or (indices.min() >= 0 and indices.max() < length):
        return
    at = int(np.flatnonzero((indices < 0) | (indices >= length))[0])
    raise CountsError(
        f"{name} has the index {indices[at]} at {where}[{first + at}], but it must lie in 0 to "
        f"{length - 1}; the file is damaged: copy or download it again, or write it again."
    )
