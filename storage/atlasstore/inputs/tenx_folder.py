"""10x matrix folders: matrix.mtx, barcodes.tsv and peaks.bed or features.tsv, plain or gzip.

Matrix Market is a text format in no useful order, so the whole matrix is read into memory here
(about 24 bytes per non-zero while reading, 8 after). For large matrices give the .h5 instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from scipy.io import mmread

from atlasstore import urls
from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Subscriber, ignore
from atlasstore.inputs.barcodes import read_barcodes
from atlasstore.inputs.counts import InMemorySource, canonical_counts
from atlasstore.inputs.features import peak_rows
from atlasstore.inputs.hdf5 import readable
from atlasstore.peaks import check_peaks_valid, parse_peak_names, peak_names, read_bed
from atlasstore.textfiles import numbered_lines, open_raw, open_text

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from scipy.sparse import coo_array

    Rows = npt.NDArray[np.int64] | None

__all__ = ["is_tenx_folder", "open_tenx_folder"]

_FEATURE_COLUMNS = ["id", "name", "type", "chrom", "start", "end"]


def is_tenx_folder(url: str | Path) -> bool:
    """Whether a matrix.mtx or matrix.mtx.gz lies directly below `url`."""
    return _find(url, "matrix.mtx") is not None


def open_tenx_folder(url: str | Path, *, on_event: Subscriber = ignore) -> InMemorySource:
    """Read a 10x matrix folder (features x barcodes) into memory.

    Raises
    ------
    CountsError, PeaksError
        When a file is missing or damaged, or the three do not fit each other.
    """
    barcodes = read_barcodes(_need(url, "barcodes.tsv"))
    matrix = _read_matrix(_need(url, "matrix.mtx"))
    peaks, kept, n_features = _features(url, on_event)
    if matrix.shape != (n_features, len(barcodes)):
        raise CountsError(
            f"{url} has a matrix of shape {matrix.shape} (features x barcodes) but lists "
            f"{n_features:,} features and {len(barcodes):,} barcodes; give the three files of one "
            "run."
        )
    by_cell = matrix.T.tocsr()
    counts = canonical_counts(
        by_cell if kept is None else by_cell[:, kept], name=str(url), first_cell=0
    )
    return InMemorySource(str(url), pd.DataFrame(index=barcodes), peaks, counts)


def _find(url: str | Path, *names: str) -> str | None:
    present = set(urls.list_names(url))
    wanted = [full for name in names for full in (name, f"{name}.gz") if full in present]
    return urls.join(url, wanted[0]) if wanted else None


def _need(url: str | Path, *names: str) -> str:
    found = _find(url, *names)
    if found is None:
        raise CountsError(
            f"{url} has no {' or '.join(names)} (plain or .gz); a 10x folder holds matrix.mtx, "
            "barcodes.tsv and peaks.bed or features.tsv."
        )
    return found


def _read_matrix(url: str) -> coo_array:
    with (
        readable(url, what="a matrix"),
        open_raw(url, error=CountsError) as raw,
        open_text(raw, name=url, error=CountsError) as text,
    ):
        return mmread(text, spmatrix=False)


def _features(url: str | Path, on_event: Subscriber) -> tuple[pd.DataFrame, Rows, int]:
    """Return the peaks, the rows of the matrix that hold them (None: all), the rows in all."""
    path = _need(url, "peaks.bed", "features.tsv")
    if "features.tsv" not in path.rsplit("/", maxsplit=1)[-1]:
        peaks = read_bed(path)
        return peaks, None, len(peaks)
    table = _feature_table(path)
    kept = peak_rows(table["type"].to_numpy(dtype=object), name=str(url), on_event=on_event)
    return _peaks(table if kept is None else table.iloc[kept], path), kept, len(table)


def _feature_table(path: str) -> pd.DataFrame:
    lines = (line.split("\t") for _, line in numbered_lines(path, error=PeaksError) if line)
    padded = [[*fields, *[""] * 6][:6] for fields in lines]
    return pd.DataFrame(padded, columns=_FEATURE_COLUMNS)


def _peaks(table: pd.DataFrame, path: str) -> pd.DataFrame:
    try:
        if (table["chrom"] == "").any():
            peaks = parse_peak_names(table["id"].tolist())
        else:
            whole = table["start"].str.cat(table["end"], sep="-")
            peaks = parse_peak_names(table["chrom"].str.cat(whole, sep=":").tolist())
        check_peaks_valid(peaks)
    except PeaksError as error:
        raise PeaksError(f"{path}: {error}") from error
    return peaks.set_axis(peak_names(peaks), axis=0)
