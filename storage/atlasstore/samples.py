"""Several inputs as samples of one atlas: their names, their shared peaks, their joint tables."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import PeaksError, UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasstore.inputs.source import CountsSource

__all__ = [
    "SEPARATOR",
    "check_same_peaks",
    "join_obs",
    "refuse_duplicates",
    "sample_names",
    "set_aside",
]

SEPARATOR = ":"
"""Between sample and barcode in the cell names of an atlas of several samples."""

_COORDINATES = ["chrom", "start", "end"]
_SUFFIXES = (".h5ad", ".zarr", ".h5", ".tsv", ".bed", ".gz", ".bgz", ".fragments")


def sample_names(inputs: Sequence[str], given: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return one name for each input, all different.

    The given names, else the file's name without its endings; where those are equal (every folder
    has its ``fragments.tsv.gz``) the folder's name goes before it, and then a number behind it.

    Raises
    ------
    UserInputError
        When names are given but not one for each input, or not all different.
    """
    if given is not None:
        return _check_given(tuple(given), len(inputs))
    names = [_stem(text) for text in inputs]
    if len(set(names)) < len(names):
        names = [f"{_parent(text)}_{_stem(text)}".lstrip("_") for text in inputs]
    return tuple(_numbered(names))


def _check_given(names: tuple[str, ...], n_inputs: int) -> tuple[str, ...]:
    if len(names) != n_inputs or len(set(names)) < len(names) or not all(names):
        raise UserInputError(
            f"{len(names)} sample names ({', '.join(names)}) were given for {n_inputs} inputs; "
            "give one name for each input, all different."
        )
    return names


def _path(text: str) -> PurePosixPath:
    return PurePosixPath(str(text).split("://", maxsplit=1)[-1].split("?", maxsplit=1)[0])


def _stem(text: str) -> str:
    name = _path(text).name
    while suffix := next((end for end in _SUFFIXES if name.lower().endswith(end)), ""):
        name = name[: -len(suffix)]
    return name or "sample"


def _parent(text: str) -> str:
    return _path(text).parent.name


def _numbered(names: Sequence[str]) -> list[str]:
    """Append -2, -3, ... to names that came before."""
    taken: set[str] = set()
    result = []
    for name in names:
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique)
        result.append(unique)
    return result


def check_same_peaks(sources: Sequence[CountsSource]) -> None:
    """Raise PeaksError unless all sources have the same peaks in the same order."""
    first = sources[0]
    for other in sources[1:]:
        if len(first.peaks) != len(other.peaks):
            difference = f"{len(first.peaks)} peaks and {len(other.peaks)}"
        elif (row := _first_difference(first.peaks, other.peaks)) is not None:
            pair = (_place(first.peaks, row), _place(other.peaks, row))
            difference = f"peak {row + 1} is {pair[0]} and {pair[1]}"
        else:
            continue
        raise PeaksError(
            f"{first.name} and {other.name} do not have the same peaks in the same order "
            f"({difference}); count all samples on one peak set."
        )


def _first_difference(a: pd.DataFrame, b: pd.DataFrame) -> int | None:
    differs = np.zeros(len(a), bool)
    for column in _COORDINATES:
        differs |= a[column].astype(object).to_numpy() != b[column].astype(object).to_numpy()
    return int(differs.argmax()) if differs.any() else None


def _place(peaks: pd.DataFrame, row: int) -> str:
    peak = peaks.iloc[row]
    return f"{peak['chrom']}:{peak['start']}-{peak['end']}"


def refuse_duplicates(peaks: pd.DataFrame) -> None:
    """Raise PeaksError when two peaks have the same chrom, start and end (overlaps are fine)."""
    twice = peaks.duplicated(_COORDINATES, keep=False)
    if not twice.any():
        return
    first = peaks[twice].iloc[0]
    same = (peaks[_COORDINATES] == first[_COORDINATES]).all(axis=1)
    n_extra = int(peaks.duplicated(_COORDINATES).sum())
    counted = "1 peak repeats" if n_extra == 1 else f"{n_extra} peaks repeat"
    raise PeaksError(
        f"{counted} the coordinates of another; the first such peaks, at "
        f"{_place(peaks, int(np.flatnonzero(twice)[0]))}, are named "
        f"{', '.join(map(str, peaks.index[same]))}; leave one of each."
    )


def join_obs(sources: Sequence[CountsSource], names: Sequence[str]) -> pd.DataFrame:
    """Return all sources' cells, in order, with the column ``sample``.

    With one source, cell names stay as they are, and so does a column ``sample`` it already has.
    With several, cell names become ``SAMPLE:BARCODE``, and a column ``sample`` of theirs becomes
    ``input_sample``. A column that only some sources have is missing in the others' cells.
    """
    if len(sources) == 1:
        obs = sources[0].obs.copy()
        if "sample" not in obs:
            obs.insert(0, "sample", names[0])
        return obs
    return pd.concat([_prefixed(s.obs, n) for s, n in zip(sources, names, strict=True)]).assign(
        sample=lambda table: pd.Categorical(table["sample"], categories=list(names))
    )


def set_aside(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a copy in which an own column `name` is called ``input_NAME``, to make room."""
    return table.rename(columns={name: f"input_{name}"}).copy()


def _prefixed(obs: pd.DataFrame, name: str) -> pd.DataFrame:
    table = set_aside(obs, "sample")
    table.insert(0, "sample", name)
    table.index = pd.Index([f"{name}{SEPARATOR}{barcode}" for barcode in obs.index], dtype=object)
    return table
