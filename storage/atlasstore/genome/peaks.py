"""Peak coordinates: from names, from `var` columns, from BED files; and the checks on them.

All intervals are 0-based half-open, as in BED: ``chr1:100-200`` is the 100 bases 100..199. Nothing
in a file says which convention its author used, so none is guessed and none is converted.
A peak table is a DataFrame with columns ``chrom`` (str), ``start`` and ``end`` (int64) first.
Whether peaks fit a genome is checked where the genome is read, not here.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import PeaksError
from atlasstore.files.text import numbered_lines
from atlasstore.genome.bed_lines import MAX_POSITION, bed_row, is_no_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = [
    "MAX_POSITION",
    "are_coordinates",
    "check_peaks_valid",
    "find_duplicates",
    "has_place_columns",
    "parse_peak_names",
    "peak_names",
    "peaks_digest",
    "peaks_from_var",
    "read_bed",
]

_NAME = r"^(?P<chrom>.*[^:_-])[:_-](?P<start>[0-9]{1,18})[-_](?P<end>[0-9]{1,18})$"
_DOTTED = r"^(?P<chrom>.*[^:_.-])\.(?P<start>[0-9]{1,18})\.(?P<end>[0-9]{1,18})$"
"""As R makes names of the others."""
_COLUMNS = {
    "chrom": ("chrom", "chr", "seqnames", "seqname", "chromosome", "peak_chr", "peak_chrom"),
    "start": ("start", "chromstart", "peak_start"),
    "end": ("end", "stop", "chromend", "peak_end"),
}
_WHOLE = ("interval", "peak", "peaks", "peak_name", "peak_id", "region", "coordinates")
"""Columns that hold names such as ``chr1:100-200``."""
_LONGEST_NAME = 1000


def peak_names(peaks: pd.DataFrame) -> pd.Index[str]:
    """Return ``chrom:start-end`` for each row of a peak table."""
    start, end = peaks["start"].astype(str), peaks["end"].astype(str)
    return pd.Index(peaks["chrom"].astype(str) + ":" + start + "-" + end, dtype=object)


def peaks_digest(peaks: pd.DataFrame) -> npt.NDArray[np.uint8]:
    """Return the SHA-256 of the peaks' coordinates in their order, uint8 (32,)."""
    names = "\n".join([*peak_names(peaks), ""])
    return np.frombuffer(hashlib.sha256(names.encode()).digest(), np.uint8)


def parse_peak_names(names: Sequence[str] | pd.Index[str]) -> pd.DataFrame:
    """Read coordinates from names such as ``chr1:100-200``, ``chr1_100_200``, ``chr1.100.200``.

    Names are split from the right, so a chromosome's own name may contain ``_``, ``-`` or ``.``.

    Parameters
    ----------
    names
        Peak names, length n_peaks; 0-based half-open.

    Returns
    -------
    pandas.DataFrame
        Columns ``chrom``, ``start``, ``end``, indexed by the names as given.

    Raises
    ------
    PeaksError
        When a name has no coordinates; it carries the first such name and its row.
    """
    index: pd.Index[str] = pd.Index(np.asarray(names, dtype=object))
    found = _matched(index)
    bad = np.flatnonzero(found["start"].isna().to_numpy())
    if bad.size:
        raise PeaksError(
            f"peak name {str(index[bad[0]])[:80]!r} (row {bad[0]}, counting from 0) has no "
            "coordinates; names like chr1:100-200, chr1-100-200, chr1_100_200 or chr1.100.200 are "
            "read, or give var columns chrom, start and end."
        )
    return found.astype({"start": np.int64, "end": np.int64})


def are_coordinates(names: Any) -> npt.NDArray[np.bool_]:
    """Return which names `parse_peak_names` reads, bool."""
    return _matched(pd.Index(np.asarray(names, dtype=object)))["start"].notna().to_numpy()


def _matched(index: pd.Index[str]) -> pd.DataFrame:
    """Return chrom, start, end of each name, all missing where it has none."""
    texts = pd.Series(index.astype(str).str.slice(0, _LONGEST_NAME), index=index)
    texts = texts.str.strip().str.strip('"')
    found = texts.str.extract(_NAME)
    others = found["start"].isna()
    if others.any():
        found = found.where(~others, texts.str.extract(_DOTTED))
    return found


def has_place_columns(var: pd.DataFrame) -> bool:
    """Whether coordinates stand in columns of `var`, see `peaks_from_var`."""
    return _coordinate_columns(var) is not None or _name_column(var) is not None


def peaks_from_var(var: pd.DataFrame) -> pd.DataFrame:
    """Return the peak table of an AnnData `var`: from its columns, else from its names.

    Columns are matched without regard to case: ``chrom``, ``chr``, ``seqnames``, ``seqname``,
    ``chromosome`` or ``peak_chr``; ``start`` or ``peak_start``; ``end`` or ``peak_end``. All three
    must be there, or the names are read; where these are no coordinates, a column ``interval``,
    ``peak`` or ``region`` of such names.

    Parameters
    ----------
    var
        One row per peak.

    Returns
    -------
    pandas.DataFrame
        Columns ``chrom``, ``start``, ``end`` (0-based half-open), then the other columns of
        `var`; indexed as `var`.

    Raises
    ------
    PeaksError
        When neither columns nor names give coordinates, or they are invalid.
    """
    columns = _coordinate_columns(var)
    if columns is None:
        named = _name_column(var)
        names = var.index if named is None else pd.Index(var[named].astype(str))
        coordinates, rest = parse_peak_names(names), var
    else:
        coordinates, rest = _typed(var, columns), var.drop(columns=list(columns.values()))
    rest = rest.drop(columns=["chrom", "start", "end"], errors="ignore")
    peaks = pd.concat([coordinates.set_axis(var.index, axis=0), rest], axis=1)
    check_peaks_valid(peaks)
    return peaks


def _coordinate_columns(var: pd.DataFrame) -> dict[str, str] | None:
    by_lower = {str(column).lower(): str(column) for column in reversed(var.columns)}
    found = {
        wanted: next((by_lower[name] for name in names if name in by_lower), None)
        for wanted, names in _COLUMNS.items()
    }
    whole = {wanted: column for wanted, column in found.items() if column is not None}
    return whole if len(whole) == len(_COLUMNS) else None


def _name_column(var: pd.DataFrame) -> str | None:
    """Return the column of peak names, where the index holds none."""
    if len(var) == 0 or are_coordinates(var.index[:1])[0]:
        return None
    by_lower = {str(column).lower(): str(column) for column in reversed(var.columns)}
    found = (by_lower[name] for name in _WHOLE if name in by_lower)
    return next((name for name in found if are_coordinates(var[name].iloc[:1])[0]), None)


def _typed(var: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    numbers = {key: _whole_numbers(var, columns[key]) for key in ("start", "end")}
    chrom = var[columns["chrom"]]
    _refuse(chrom.isna().to_numpy(), var, "has no chromosome")
    return pd.DataFrame({"chrom": chrom.astype(str).astype(object), **numbers}, index=var.index)


def _whole_numbers(var: pd.DataFrame, column: str) -> pd.Series[int]:
    values = pd.to_numeric(var[column], errors="coerce").astype(float)
    wrong = values.isna() | (values % 1 != 0) | (var[column].dtype.kind == "b")
    _refuse(wrong.to_numpy(), var, f"has no whole number in {column}")
    _refuse((values.abs() > MAX_POSITION).to_numpy(), var, f"has {column} past {MAX_POSITION:,}")
    return values.astype(np.int64)


def _refuse(bad: npt.NDArray[np.bool_], peaks: pd.DataFrame, what: str) -> None:
    rows = np.flatnonzero(bad)
    if rows.size:
        raise PeaksError(
            f"peak {peaks.index[rows[0]]!r} (row {rows[0]}, counting from 0) {what} "
            f"({rows.size:,} of {len(peaks):,} peaks like it); peaks are 0-based half-open with "
            "0 <= start < end: correct or remove them."
        )


def check_peaks_valid(peaks: pd.DataFrame) -> None:
    """Refuse peaks without a chromosome, with ``start < 0`` or ``start >= end``, or none at all.

    Raises
    ------
    PeaksError
        Naming the first such peak and its row.
    """
    if peaks.empty:
        raise PeaksError("there are no peaks; give at least one.")
    missing = peaks[["chrom", "start", "end"]].isna().any(axis=1).to_numpy()
    _refuse(missing, peaks, "lacks a chromosome, start or end")
    _refuse((peaks["chrom"].astype(str) == "").to_numpy(), peaks, "lacks a chromosome")
    _refuse((peaks["start"] < 0).to_numpy(), peaks, "starts before 0")
    _refuse((peaks["start"] >= peaks["end"]).to_numpy(), peaks, "does not end after its start")
    _refuse((peaks["end"] > MAX_POSITION).to_numpy(), peaks, f"ends past {MAX_POSITION:,}")


def find_duplicates(peaks: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the rows (int64, ascending) whose chrom, start and end stood in an earlier row."""
    return np.flatnonzero(peaks.duplicated(["chrom", "start", "end"]).to_numpy())


def read_bed(url: str | Path, *, with_strand: bool = False) -> pd.DataFrame:
    """Read peaks from a BED or narrowPeak file, plain or gzip, at a path or URL.

    Comment (``#``), ``track`` and ``browser`` lines and empty lines are skipped.

    Parameters
    ----------
    url
        Path or URL.
    with_strand
        Whether there is also a column ``strand``: "+", "-", or "." where the sixth column of the
        file is neither.

    Returns
    -------
    pandas.DataFrame
        Columns ``chrom``, ``start``, ``end`` (0-based half-open) in the file's order, indexed by
        ``chrom:start-end``.

    Raises
    ------
    PeaksError
        When the file is missing, cut or has a malformed line (its number is in the message).
    """
    rows = [
        bed_row(line, number, url)
        for number, line in numbered_lines(url, error=PeaksError)
        if not is_no_row(line)
    ]
    if not rows:
        raise PeaksError(f"{url} has no peaks; give a BED file with one peak a line.")
    peaks = pd.DataFrame(rows, columns=["chrom", "start", "end", "strand"])
    peaks = peaks.astype({"start": np.int64, "end": np.int64})
    if not with_strand:
        peaks = peaks.drop(columns="strand")
    return peaks.set_axis(peak_names(peaks), axis=0)
