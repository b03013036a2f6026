"""10x Genomics HDF5 matrices: scATAC and multiome, read by slices of barcodes.

The matrix is stored by barcode (CSC of features x barcodes), so a run of cells is one contiguous
read. The group is ``/matrix`` (Cell Ranger 3 and later, Cell Ranger ATAC and ARC) or, in older
files, the one group named after the genome. Peaks come from ``features/interval`` where it is
there, else from the feature ids (``chr1:1-2`` or ``chr1_1_2``), 0-based half-open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Subscriber, ignore
from atlasstore.genome.peaks import check_peaks_valid, parse_peak_names
from atlasstore.inputs.counts import cells_table
from atlasstore.inputs.hdf5 import open_hdf5, readable
from atlasstore.inputs.source import Description
from atlasstore.inputs.tenx_features import peak_rows

if TYPE_CHECKING:
    from pathlib import Path

    import h5py
    import numpy.typing as npt
    import pandas as pd

__all__ = ["TenxH5Matrix", "describe_tenx_h5", "open_tenx_h5"]

_PARTS = {"barcodes", "data", "indices", "indptr", "shape"}


def describe_tenx_h5(url: str | Path, *, on_event: Subscriber = ignore) -> Description:
    """Read the barcodes and peaks of a 10x .h5 matrix.

    Parameters
    ----------
    url
        Path or URL.
    on_event
        Hears how many features that are not peaks were left out.

    Raises
    ------
    CountsError, PeaksError
        When it is missing, cut, not such a matrix, or holds no peaks.
    """
    name = str(url)
    with open_hdf5(url) as file, readable(name, what="a 10x matrix"):
        matrix = _matrix_group(file, name)
        obs = cells_table(_texts(matrix["barcodes"]), name=name)
        ids, types = _features(matrix)
        stored = [int(size) for size in matrix["shape"][:]]
        n_edges = matrix["indptr"].size
    if stored != [len(ids), len(obs)] or n_edges != len(obs) + 1:
        raise CountsError(
            f"{name} says it has {stored} features x barcodes but lists {len(ids):,} "
            f"features and {len(obs):,} barcodes; copy or download it again."
        )
    kept = None if types is None else peak_rows(types, name=name, on_event=on_event)
    return Description(obs, _peaks(ids if kept is None else ids[kept], name), kept)


def open_tenx_h5(url: str | Path, *, name: str) -> TenxH5Matrix:
    """Open the counts of a 10x .h5 matrix.

    Raises
    ------
    CountsError
        When it is missing, cut or not such a matrix.
    """
    file = open_hdf5(url)
    try:
        return TenxH5Matrix(file, name=name)
    except BaseException:
        file.close()
        raise


class TenxH5Matrix:
    """The counts of an open 10x HDF5 file, by runs of cells."""

    def __init__(self, file: h5py.File, *, name: str) -> None:
        self.close = file.close
        self._name = name
        with readable(name, what="a 10x matrix"):
            self._matrix = _matrix_group(file, name)
            self.n_features, self.n_cells = (int(size) for size in self._matrix["shape"][:])
            self._indptr: npt.NDArray[np.int64] = np.asarray(self._matrix["indptr"][:], np.int64)

    def read(self, start: int, stop: int) -> csr_array:
        """Return rows [start, stop)."""
        begin, end = int(self._indptr[start]), int(self._indptr[stop])
        with readable(self._name, what=f"counts of cells {start}-{stop}"):
            parts = (self._matrix["data"][begin:end], self._matrix["indices"][begin:end])
            indptr = self._indptr[start : stop + 1] - begin
            return csr_array((*parts, indptr), shape=(stop - start, self.n_features))


def _matrix_group(file: h5py.File, name: str) -> h5py.Group:
    found = [key for key, group in file.items() if hasattr(group, "keys") and set(group) >= _PARTS]
    if len(found) == 1:
        return file[found[0]]
    holds = ", ".join(list(file)[:5]) or "nothing"
    raise CountsError(
        f"{name} is not a 10x matrix of one genome: it holds {holds} where one group with "
        f"{', '.join(sorted(_PARTS))} is needed; give a filtered_peak_bc_matrix.h5 or "
        "filtered_feature_bc_matrix.h5."
    )


def _features(matrix: h5py.Group) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_] | None]:
    """Return the peaks' names and the feature types (None where there are none)."""
    if "features" not in matrix:
        return _texts(matrix["genes"]), None
    features = matrix["features"]
    names = _texts(features["interval" if "interval" in features else "id"])
    return names, _texts(features["feature_type"]) if "feature_type" in features else None


def _texts(dataset: Any) -> npt.NDArray[np.object_]:
    texts: npt.NDArray[np.object_] = dataset.asstr()[:].astype(object)
    return texts


def _peaks(ids: npt.NDArray[np.object_], name: str) -> pd.DataFrame:
    try:
        peaks = parse_peak_names(ids.tolist())
        check_peaks_valid(peaks)
    except PeaksError as error:
        raise PeaksError(f"{name}: {error}") from error
    return peaks
