"""10x Genomics HDF5 matrices: scATAC and multiome, read by slices of barcodes.

The matrix is stored by barcode (CSC of features x barcodes), so a run of cells is one contiguous
read. The group is ``/matrix`` (Cell Ranger 3 and later, Cell Ranger ATAC and ARC) or, in older
files, one group named after each genome, whose features come one after the other. Peaks come from
``features/interval`` where it is there, else from the feature ids (``chr1:1-2`` or ``chr1_1_2``),
0-based half-open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from scipy.sparse import csr_array, hstack

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Subscriber, ignore
from atlasstore.genome.peaks import check_peaks_valid, parse_peak_names
from atlasstore.inputs.compressed import CompressedMatrix
from atlasstore.inputs.counts import cells_table
from atlasstore.inputs.declared import check_inside, refuse_links
from atlasstore.inputs.hdf5 import open_hdf5, readable
from atlasstore.inputs.source import Description
from atlasstore.inputs.tenx_features import peak_rows

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    _Texts = npt.NDArray[np.object_]

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
        groups = _matrix_groups(file, name)
        obs = _barcodes(groups, name)
        ids, types = _names(groups, name)
        shapes = [_stored_shape(group, name) for group in groups]
        n_edges = [int(group["indptr"].size) for group in groups]
    stored = (sum(n for n, _ in shapes), *{n for _, n in shapes})
    if stored != (len(ids), len(obs)) or {*n_edges} != {len(obs) + 1}:
        raise CountsError(
            f"{name} says it has {list(stored)} features x barcodes but lists {len(ids):,} "
            f"features and {len(obs):,} barcodes; copy or download it again."
        )
    kept = peak_rows(types, names=ids, name=name, on_event=on_event)
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
        with readable(name, what="a 10x matrix"):
            groups = _matrix_groups(file, name)
            shapes = [_stored_shape(group, name) for group in groups]
        self._parts = [
            CompressedMatrix(group, (n_cells, n_features), name=name)
            for group, (n_features, n_cells) in zip(groups, shapes, strict=True)
        ]
        self.n_cells = shapes[0][1]
        self.n_features = sum(n_features for n_features, _ in shapes)

    def read(self, start: int, stop: int) -> csr_array:
        """Return rows [start, stop)."""
        parts = [part.read(start, stop) for part in self._parts]
        return parts[0] if len(parts) == 1 else csr_array(hstack(parts, format="csr"))


def _matrix_groups(file: h5py.File, name: str) -> list[h5py.Group]:
    """Return the group of the matrix, or those of several genomes."""
    refuse_links(file, name=name)
    groups = [group for group in file.values() if isinstance(group, h5py.Group)]
    for group in groups:
        refuse_links(group, name=name)
    found = [group for group in groups if set(group) >= _PARTS]
    if found:
        return found
    holds = ", ".join(list(file)[:5]) or "nothing"
    raise CountsError(
        f"{name} is not a 10x matrix: it holds {holds} where a group with "
        f"{', '.join(sorted(_PARTS))} is needed; give a filtered_peak_bc_matrix.h5 or "
        "filtered_feature_bc_matrix.h5."
    )


def _stored_shape(matrix: h5py.Group, name: str) -> tuple[int, int]:
    """Return (features, barcodes), as the matrix says."""
    check_inside(matrix["shape"], name=name)
    n_features, n_cells = (int(size) for size in matrix["shape"][:])
    return n_features, n_cells


def _barcodes(groups: list[h5py.Group], name: str) -> pd.DataFrame:
    """Return the cells; those of all genomes must be the same."""
    first, *others = (_texts(group["barcodes"], name) for group in groups)
    for group, barcodes in zip(groups[1:], others, strict=True):
        if not np.array_equal(first, barcodes):
            raise CountsError(
                f"{name} has other barcodes in {group.name} than in {groups[0].name}; give the "
                "matrix of one genome, or of all on the same barcodes."
            )
    return cells_table(first, name=name)


def _names(groups: list[h5py.Group], name: str) -> tuple[_Texts, _Texts]:
    """Return all features' names and types ("" where there are none).

    Where genomes share a name, each name gets its genome before it, as 10x references have it.
    """
    found = [_features(group, name) for group in groups]
    names = np.concatenate([names for names, _ in found])
    if len(groups) > 1 and len(set(names)) < len(names):
        of_group = (str(group.name).strip("/") for group in groups)
        parts = [[f"{g}_{one}" for one in ids] for g, (ids, _) in zip(of_group, found, strict=True)]
        names = np.concatenate([np.array(part, dtype=object) for part in parts])
    return names, np.concatenate([types for _, types in found])


def _features(matrix: h5py.Group, name: str) -> tuple[_Texts, _Texts]:
    if "features" not in matrix:
        ids = _texts(matrix["genes"], name)
        return ids, np.full(len(ids), "", object)
    features = matrix["features"]
    check_inside(features, name=name)
    ids = _texts(features["interval" if "interval" in features else "id"], name)
    if "feature_type" not in features:
        return ids, np.full(len(ids), "", object)
    types = _texts(features["feature_type"], name)
    if len(types) != len(ids):
        raise ValueError(f"{len(types):,} feature types of {len(ids):,} features")
    return ids, types


def _texts(dataset: Any, name: str) -> _Texts:
    check_inside(dataset, name=name)
    if dataset.ndim != 1:
        raise ValueError(f"{dataset.name} of shape {dataset.shape} is no list of names")
    texts: _Texts = dataset.asstr()[:].astype(object)
    return texts


def _peaks(ids: _Texts, name: str) -> pd.DataFrame:
    try:
        peaks = parse_peak_names(ids.tolist())
        check_peaks_valid(peaks)
    except PeaksError as error:
        raise PeaksError(f"{name}: {error}") from error
    return peaks
