"""The same peaks in another order: where each of the atlas's peaks stands in an input."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import PeaksError
from atlasstore.inputs.samples import refuse_duplicates

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

__all__ = ["find_peaks", "peaks_digest"]

_COORDINATES = ["chrom", "start", "end"]
_EXAMPLES = 3


def peaks_digest(peaks: pd.DataFrame) -> str:
    """Return what two peak tables share when their coordinates are equal, in the same order."""
    digest = hashlib.sha256("\n".join(peaks["chrom"].astype(str)).encode())
    for column in ("start", "end"):
        digest.update(peaks[column].to_numpy("<i8").tobytes())
    return digest.hexdigest()


def find_peaks(wanted: pd.DataFrame, peaks: pd.DataFrame, *, names: tuple[str, str]) -> Ints:
    """Return the row in `peaks` of every peak of `wanted`, by chrom, start and end; int64.

    Parameters
    ----------
    wanted
        The atlas's peaks, each once.
    peaks
        An input's peaks.
    names
        Of the inputs that `wanted` and `peaks` come from, for messages.

    Raises
    ------
    PeaksError
        When the two are not the same set; it says how many peaks are only in one and in the
        other, and shows the first. Also when `peaks` repeats one.
    """
    one, other = _index(wanted), _index(peaks)
    if not other.is_unique:
        _refuse_repeats(peaks, names[1])
    rows: Ints = other.get_indexer(one)
    missing, extra = np.flatnonzero(rows < 0), np.flatnonzero(one.get_indexer(other) < 0)
    if missing.size or extra.size:
        raise PeaksError(
            f"{names[1]} does not have the peaks of {names[0]}: {len(one) - missing.size:,} are in "
            f"both, {_some(wanted, missing)} only in {names[0]}, {_some(peaks, extra)} only in "
            f"{names[1]}; count all samples on one peak set (fragments and BAM are counted on "
            "--peaks)."
        )
    return rows


def _index(peaks: pd.DataFrame) -> pd.MultiIndex:
    columns = [peaks["chrom"].astype(str), peaks["start"], peaks["end"]]
    return pd.MultiIndex.from_arrays(columns, names=_COORDINATES)


def _refuse_repeats(peaks: pd.DataFrame, name: str) -> None:
    try:
        refuse_duplicates(peaks)
    except PeaksError as error:
        raise PeaksError(f"{name}: {error}") from error


def _some(peaks: pd.DataFrame, rows: Ints) -> str:
    if not rows.size:
        return "none"
    first = peaks.iloc[rows[:_EXAMPLES]]
    places = (f"{c}:{s}-{e}" for c, s, e in first[_COORDINATES].itertuples(index=False))
    return f"{rows.size:,} ({', '.join(places)}{', ...' if rows.size > _EXAMPLES else ''})"
