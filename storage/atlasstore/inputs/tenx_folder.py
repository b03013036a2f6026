"""10x matrix folders: matrix.mtx, barcodes.tsv and peaks.bed or features.tsv, plain or gzip.

Matrix Market is a text format in no order that can be relied on, so it is read once, line by line
in tables, into a cell-major copy. The .h5 of the same run is read in place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import CountsError, PeaksError
from atlasstore.events import Subscriber, ignore
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines
from atlasstore.genome.peaks import check_peaks_valid, parse_peak_names, peak_names, read_bed
from atlasstore.inputs.barcodes import read_barcodes, selected_rows
from atlasstore.inputs.counts import check_counts
from atlasstore.inputs.matrix_market import matrix_tables, read_shape
from atlasstore.inputs.source import Cells, Description, Piece
from atlasstore.inputs.tenx_features import peak_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from atlasstore.inputs.source import Add
    from atlasstore.inputs.spec import SourceSpec

    Ints = npt.NDArray[np.int64]
    Rows = Ints | None

__all__ = ["FolderPieces", "describe_tenx_folder", "is_tenx_folder"]

_BYTES_PER_LINE = 128
"""Of one entry while its line is read and its indices are looked up."""

_FEATURE_COLUMNS = ["id", "name", "type", "chrom", "start", "end"]


def is_tenx_folder(url: str | Path) -> bool:
    """Whether a matrix.mtx or matrix.mtx.gz lies directly below `url`."""
    return _find(url, "matrix.mtx") is not None


def describe_tenx_folder(url: str | Path, *, on_event: Subscriber = ignore) -> Description:
    """Read the barcodes and peaks of a 10x matrix folder (features x barcodes).

    Parameters
    ----------
    url
        Path or URL.
    on_event
        Hears how many features that are not peaks were left out.

    Raises
    ------
    CountsError, PeaksError
        When a file is missing or damaged, or the three do not fit each other.
    """
    barcodes = read_barcodes(_need(url, "barcodes.tsv"))
    path = _need(url, "matrix.mtx")
    peaks, kept, n_features = _features(url, on_event)
    shape = read_shape(path)[:2]
    if shape != (n_features, len(barcodes)):
        raise CountsError(
            f"{url} has a matrix of shape {shape} (features x barcodes) but lists "
            f"{n_features:,} features and {len(barcodes):,} barcodes; give the three files of one "
            "run."
        )
    return Description(pd.DataFrame(index=barcodes), peaks, kept, by_cell=False)


class FolderPieces:
    """A 10x matrix folder; its one piece is the whole matrix."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        described = describe_tenx_folder(spec.url)
        assert described.obs is not None
        self.peaks = described.peaks
        self._rows = selected_rows(described.obs.index, spec.barcodes, name=spec.name)
        self._obs = described.obs if self._rows is None else described.obs.iloc[self._rows]
        self._cell = _numbers(self._rows, len(described.obs))
        self._path = _need(spec.url, "matrix.mtx")
        self._peak = _numbers(described.columns, read_shape(self._path)[0])

    def plan(self, n_workers: int) -> list[Piece]:
        """Return the one piece."""
        del n_workers
        return [(0, 1)]

    def count(
        self, piece: Piece, add: Add, *, memory_bytes: int, on_event: Subscriber
    ) -> dict[str, Any]:
        """Add the counts of the matrix."""
        del piece
        rows = max(1, memory_bytes // _BYTES_PER_LINE)
        for table in matrix_tables(self._path, rows_per_table=rows, on_event=on_event):
            cell, peak = self._cell[table.column], self._peak[table.row]
            kept = np.flatnonzero((cell >= 0) & (peak >= 0))
            count = self._checked(cell[kept], peak[kept], table.value[kept])
            add(cell[kept], peak[kept], count)
        return {}

    def _checked(self, cell: Ints, peak: Ints, value: Any) -> Ints:
        check_counts(value, cell=cell, column=peak, name=self._spec.name)
        return np.asarray(value, np.int64)

    def cells(self, facts: Sequence[dict[str, Any]], notice: Callable[[str], None]) -> Cells:
        """Return the cells, those of the barcode list where one is given."""
        del facts, notice
        return Cells(self._obs)


def _numbers(kept: Rows, total: int) -> Ints:
    """Return for each of `total` which one of those kept it is, -1 for the others."""
    if kept is None:
        return np.arange(total)
    numbers = np.full(total, -1)
    numbers[kept] = np.arange(len(kept))
    return numbers


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
