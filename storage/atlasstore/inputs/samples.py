"""Several inputs as samples of one atlas: which, their names, their peaks, their joint tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import PeaksError, UserInputError
from atlasstore.files import urls
from atlasstore.inputs.sample_sheet import is_sample_sheet, read_sample_sheet
from atlasstore.redaction import shown
from atlasstore.zarrio.tidy import set_aside, stack, with_legal_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atlasstore.inputs.source import CountsSource

__all__ = [
    "SEPARATOR",
    "Sample",
    "join_obs",
    "plan_samples",
    "refuse_duplicates",
    "sample_names",
]

SEPARATOR = ":"
"""Between sample and barcode in the cell names of an atlas of several samples."""

_COORDINATES = ["chrom", "start", "end"]
_SUFFIXES = (
    *(".h5ad", ".h5mu", ".zarr", ".h5", ".tsv", ".bed", ".gz", ".bgz", ".fragments"),
    *("*.bam", ".bam", "_matrix.mtx", "matrix.mtx"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One input of an atlas."""

    name: str
    """Of the sample, unlike all others'."""
    url: str
    """Path or URL of the input."""
    barcodes: str | None = None
    """Path or URL of its barcode list."""
    columns: tuple[tuple[str, str], ...] = ()
    """(column of obs, value) for all of its cells."""


def plan_samples(
    inputs: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    barcodes: Sequence[str] | None = None,
) -> tuple[Sample, ...]:
    """Return the samples that the inputs stand for; only a sample sheet is opened.

    Parameters
    ----------
    inputs
        Paths or URLs; patterns (``s3://bucket/*.h5ad``, ``**`` for any depth) stand for what they
        match, sorted. One that ends in ``.csv`` is a sample sheet and the only input. A pattern of
        ``.bam`` files is one input, whose cells they are.
    names
        One name for each input that is left then, in place of the file names.
    barcodes
        One barcode list for each of these inputs.

    Raises
    ------
    UserInputError
        When a pattern matches nothing, the sheet is wrong, or the numbers of inputs, names and
        barcode lists differ.
    """
    sheets = [text for text in inputs if is_sample_sheet(text)]
    if sheets:
        return _from_sheet(sheets[0], alone=len(inputs) == 1 and not names and not barcodes)
    found = [match for text in inputs for match in _expanded(text)]
    lists: list[str | None] = list(barcodes) if barcodes else [None] * len(found)
    if len(lists) != len(found):
        raise UserInputError(
            f"{len(lists)} barcode list(s) were given for {len(found)} inputs; give one for each "
            "input, in the same order, or none."
        )
    named = sample_names(found, names)
    return tuple(Sample(n, url, b) for n, url, b in zip(named, found, lists, strict=True))


def _from_sheet(url: str, *, alone: bool) -> tuple[Sample, ...]:
    if not alone:
        raise UserInputError(
            f"{url} is a sample sheet, which is given alone: put every input into it, and names "
            "and barcode lists into its columns sample and barcodes."
        )
    rows = read_sample_sheet(url)
    from_files = sample_names([row.path for row in rows if not row.sample])
    free = iter(_numbered(from_files, taken=[row.sample for row in rows]))
    return tuple(
        Sample(row.sample or next(free), row.path, row.barcodes, row.columns) for row in rows
    )


def _expanded(text: str) -> list[str]:
    """Return what a pattern matches, sorted; an input that is no pattern stays as it is."""
    path = urls.path_end(text)  # no pattern is in a query
    if not any(sign in path for sign in "*?[") or path.endswith(".bam"):
        return [text]
    if urls.exists(text):
        return [text]
    fs, pattern = urls.filesystem(text)
    found = sorted(str(path).rstrip("/") for path in fs.glob(pattern))
    if not found:
        raise UserInputError(f"{text} matches nothing; check the path or URL and the pattern.")
    return found if urls.is_local(text) else [str(fs.unstrip_protocol(path)) for path in found]


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
    inputs = [shown(text) for text in inputs]
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
    return name or _parent(text) or "sample"


def _parent(text: str) -> str:
    return _path(text).parent.name


def _numbered(names: Sequence[str], *, taken: Iterable[str] = ()) -> list[str]:
    """Append -2, -3, ... to names that came before or are `taken`."""
    used = set(taken)
    result = []
    for name in names:
        number, unique = 1, name
        while unique in used:
            number += 1
            unique = f"{name}-{number}"
        used.add(unique)
        result.append(unique)
    return result


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


def join_obs(
    sources: Sequence[CountsSource],
    names: Sequence[str],
    *,
    columns: Sequence[Mapping[str, str]] | None = None,
    prefixed: bool = False,
) -> pd.DataFrame:
    """Return all sources' cells, in order, with the column ``sample``.

    With one source, cell names stay as they are, and so does a column ``sample`` it already has.
    With several, or `prefixed`, cell names become ``SAMPLE:BARCODE``, and a column ``sample`` of
    theirs becomes ``input_sample`` (``input_input_sample`` where there is one). A column that only
    some sources have is missing in the others' cells. Names that cannot be stored are changed, see
    `atlasstore.zarrio.tidy`.

    Parameters
    ----------
    sources, names
        As many names as sources.
    columns
        For each source, the columns that all of its cells get; one of the same name that the
        source has becomes ``input_NAME``.
    prefixed
        Whether one source's cells are named as those of several.
    """
    given = columns or [{}] * len(sources)
    tables = _with_columns([with_legal_names(source.obs)[0] for source in sources], given)
    if len(sources) == 1 and not prefixed:
        obs = tables[0].copy()
        if "sample" not in obs:
            obs.insert(0, "sample", names[0])
        return obs
    taken = {column for table in tables for column in table.columns}
    joined = [_prefixed(t, n, taken=taken) for t, n in zip(tables, names, strict=True)]
    return stack(joined).assign(
        sample=lambda table: pd.Categorical(table["sample"], categories=list(names))
    )


def _with_columns(
    tables: Sequence[pd.DataFrame], given: Sequence[Mapping[str, str]]
) -> list[pd.DataFrame]:
    """Return the sources' tables, each with the columns that its sample sheet gives it."""
    taken = {column for table in tables for column in table.columns} | {
        name for columns in given for name in columns
    }
    extended = []
    for table, columns in zip(tables, given, strict=True):
        for name, value in columns.items():
            table = set_aside(table, name, taken=taken)
            table[name] = value
        extended.append(table)
    return extended


def _prefixed(obs: pd.DataFrame, name: str, *, taken: Iterable[str]) -> pd.DataFrame:
    table = set_aside(obs, "sample", taken=taken)
    table.insert(0, "sample", name)
    table.index = pd.Index([f"{name}{SEPARATOR}{barcode}" for barcode in obs.index], dtype=object)
    return table
