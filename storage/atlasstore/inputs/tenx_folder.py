"""10x matrix folders: matrix.mtx, barcodes.tsv and peaks.bed or features.tsv, plain or gzip.

The three may have a prefix (``GSM123_matrix.mtx.gz``), as in public archives. A folder of several
such triplets is given as one matrix file each.

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
from atlasstore.genome.peaks import (
    are_coordinates,
    check_peaks_valid,
    parse_peak_names,
    peak_names,
    read_bed,
)
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

__all__ = ["FolderPieces", "describe_tenx_folder", "is_tenx_folder", "triplet_files"]

_BYTES_PER_LINE = 128
"""Of one entry while its line is read and its indices are looked up."""

_MATRIX = ("matrix.mtx", "matrix.mtx.gz")
_BARCODES = ("barcodes.tsv", "barcodes.txt", "barcodes.csv")
_PEAKS = ("peaks.bed", "regions.bed")
_FEATURES = ("features.tsv", "peaks.tsv", "features.txt", "genes.tsv")
_FEATURE_COLUMNS = ["id", "name", "type", "chrom", "start", "end"]


def is_tenx_folder(url: str | Path) -> bool:
    """Whether a matrix.mtx or matrix.mtx.gz is directly below `url`, or `url` is one."""
    return urls.path_end(url).endswith(_MATRIX) or bool(_matrices(url))


def triplet_files(url: str | Path) -> list[str]:
    """Return the files of a triplet that is given by its matrix; the folder where it is one."""
    if not urls.path_end(url).endswith(_MATRIX):
        return [str(url)]
    return [str(url), _need(url, *_BARCODES), _need(url, *_PEAKS, *_FEATURES)]


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
    barcodes = read_barcodes(_need(url, *_BARCODES))
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


def _matrices(folder: str | Path) -> list[str]:
    """Return the names of the matrix files directly below a folder."""
    return [name for name in urls.list_names(folder) if name.lower().endswith(_MATRIX)]


def _place(url: str | Path) -> tuple[str, str]:
    """Return the folder of a triplet and what its names begin with.

    Raises
    ------
    CountsError
        When the folder has several.
    """
    text = str(url)
    if urls.path_end(url).endswith(_MATRIX):
        folder, _, name = text.rpartition("/")
        return folder or ".", _prefix(name)
    found = _matrices(url)
    if len({_prefix(name) for name in found}) > 1:
        shown = ", ".join(found[:3])
        raise CountsError(
            f"{url} has {len(found)} matrices ({shown}{', ...' if len(found) > 3 else ''}); give "
            "the path of each matrix file as an input of its own."
        )
    return text, _prefix(found[0]) if found else ""


def _prefix(name: str) -> str:
    return name[: name.lower().rindex("matrix.mtx")]


def _need(url: str | Path, *names: str) -> str:
    folder, prefix = _place(url)
    present = set(urls.list_names(folder))
    wanted = [prefix + full for name in names for full in (name, f"{name}.gz")]
    found = next((name for name in wanted if name in present), None)
    if found is None:
        raise CountsError(
            f"{url} has no {' or '.join(prefix + name for name in names)} (plain or .gz); a 10x "
            "folder holds matrix.mtx, barcodes.tsv and peaks.bed or features.tsv."
        )
    return urls.join(folder, found)


def _features(url: str | Path, on_event: Subscriber) -> tuple[pd.DataFrame, Rows, int]:
    """Return the peaks, the rows of the matrix that hold them (None: all), the rows in all."""
    path = _need(url, *_PEAKS, *_FEATURES)
    if urls.path_end(path).removesuffix(".gz").endswith(".bed"):
        peaks = read_bed(path)
        return peaks, None, len(peaks)
    table = _feature_table(path)
    kept = peak_rows(
        table["type"].to_numpy(dtype=object),
        names=table["id"].to_numpy(dtype=object),
        has_places=bool((table["chrom"] != "").all()),
        name=str(url),
        on_event=on_event,
    )
    return _peaks(table if kept is None else table.iloc[kept], path), kept, len(table)


def _feature_table(path: str) -> pd.DataFrame:
    """Read a list of features: id, name, type, chrom, start, end, of which only id is needed.

    Three columns of which two are numbers are chrom, start, end.
    """
    rows = []
    for _, line in numbered_lines(path, error=PeaksError):
        fields = [field.strip().strip('"') for field in line.split("\t")]
        if len(fields) >= 3 and fields[1].isdigit() and fields[2].isdigit():
            fields = [f"{fields[0]}:{fields[1]}-{fields[2]}", "", ""]
        if any(fields):
            rows.append([*fields, *[""] * 6][:6])
    return pd.DataFrame(rows, columns=_FEATURE_COLUMNS)


def _peaks(table: pd.DataFrame, path: str) -> pd.DataFrame:
    try:
        if (table["chrom"] == "").any() or are_coordinates(table["id"].tolist()).all():
            peaks = parse_peak_names(table["id"].tolist())
        else:
            whole = table["start"].str.cat(table["end"], sep="-")
            peaks = parse_peak_names(table["chrom"].str.cat(whole, sep=":").tolist())
        check_peaks_valid(peaks)
    except PeaksError as error:
        raise PeaksError(f"{path}: {error}") from error
    return peaks.set_axis(peak_names(peaks), axis=0)
