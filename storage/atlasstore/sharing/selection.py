"""Which rows and columns of a result a person means: names, labels, regions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.text import numbered_lines
from atlasstore.genome.overlaps import overlapping_rows
from atlasstore.genome.peaks import are_coordinates, parse_peak_names, read_bed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

__all__ = ["chosen_columns", "chosen_rows", "is_file_of_columns"]

_BED = (".bed", ".narrowpeak")
_PLACE = ("chrom", "start", "end")
_SHOWN = 8


def chosen_rows(
    obs: pd.DataFrame,
    names: str | Path | Sequence[str] | None,
    where: Sequence[str],
    *,
    unit: str,
) -> Rows:
    """Return rows of a table, rising, int64: those that are named and have all the labels.

    Parameters
    ----------
    obs
        The table.
    names
        A file with a name a line, or names; None for all.
    where
        ``COLUMN=VALUE``; of several values for one column any will do.
    unit
        What rows are, in the plural ("cells").

    Raises
    ------
    UserInputError
        A name, column or value is unknown, or no row is left.
    """
    chosen = np.ones(len(obs), bool)
    if names is not None:
        chosen[:] = False
        chosen[_named(obs.index, _lines(names), unit=unit)] = True
    for column, values in _wanted(where).items():
        chosen &= _has_label(obs, column, values)
    if not chosen.any():
        raise UserInputError(f"none of the {len(obs):,} {unit} is chosen; choose fewer conditions.")
    return np.flatnonzero(chosen)


def chosen_columns(var: pd.DataFrame, wanted: str | Path | Sequence[str], *, unit: str) -> Rows:
    """Return rows of var, rising, int64: those that anything in `wanted` means; all for nothing.

    Parameters
    ----------
    var
        Table of the columns.
    wanted
        Each a column's name, a region ``chrom:start-end`` (columns that share a base with it), a
        BED file of regions, or a file with a name a line.
    unit
        What columns are, in the plural ("peaks").

    Raises
    ------
    UserInputError
        One of them means no column.
    """
    given = [str(wanted)] if isinstance(wanted, str | Path) else [str(one) for one in wanted]
    if not given:
        return np.arange(len(var))
    return np.unique(np.concatenate([_columns(var, one, unit) for one in given]))


def is_file_of_columns(wanted: str) -> bool:
    """Whether what `chosen_columns` is given is a file, as far as is seen without the table.

    A URL or the name of a BED file always is, another text where there is such a file here.
    """
    if not urls.is_local(wanted) or _is_bed(wanted):
        return True
    return not are_coordinates([wanted])[0] and urls.local_path(wanted).is_file()


def _is_bed(wanted: str) -> bool:
    return urls.path_end(wanted).removesuffix(".gz").endswith(_BED)


def _columns(var: pd.DataFrame, wanted: str, unit: str) -> Rows:
    if wanted in var.index:
        return np.flatnonzero(var.index == wanted)
    if _is_bed(wanted):
        return overlapping_rows(_placed(var, unit), read_bed(wanted), name=wanted)
    if are_coordinates([wanted])[0]:
        region = parse_peak_names([wanted])
        return overlapping_rows(_placed(var, unit), region, name=f"the region {wanted}")
    if urls.exists(wanted):
        return _named(var.index, _lines(wanted), unit=unit)
    raise UserInputError(
        f"{wanted!r} is none of the {len(var):,} {unit}, which are called like {var.index[0]}; "
        "give their names, a region chrom:start-end, a BED file, or a file with a name a line."
    )


def _placed(var: pd.DataFrame, unit: str) -> pd.DataFrame:
    if any(name not in var for name in _PLACE):
        raise UserInputError(f"these {unit} have no coordinates; choose them by name.")
    return var


def _lines(names: str | Path | Sequence[str]) -> list[str]:
    if not isinstance(names, str | Path):
        return [str(name) for name in names]
    texts = (line.strip() for _, line in numbered_lines(names, error=UserInputError))
    return [text.split("\t", maxsplit=1)[0] for text in texts if text]


def _named(index: pd.Index[str], names: Sequence[str], *, unit: str) -> Rows:
    rows = index.get_indexer(pd.Index(list(names), dtype=object)).astype(np.int64)
    unknown = [name for name, row in zip(names, rows, strict=True) if row < 0]
    if unknown:
        raise UserInputError(
            f"{len(unknown):,} of {len(names):,} {unit} are unknown ({_listed(unknown, 3)}); known "
            f"ones are called like {index[0]}."
        )
    return rows


def _wanted(where: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in [where] if isinstance(where, str) else where:
        column, sign, value = one.partition("=")
        if not sign:
            raise UserInputError(f"a condition is COLUMN=VALUE, such as cell_type=B; got {one!r}.")
        found.setdefault(column, []).append(value)
    return found


def _has_label(obs: pd.DataFrame, column: str, values: Sequence[str]) -> NDArray[np.bool_]:
    if column not in obs:
        raise UserInputError(
            f"there is no column {column!r}; known are {_listed([str(c) for c in obs], _SHOWN)}."
        )
    texts = obs[column].astype(str)
    for value in values:
        if not (texts == value).any():
            known = _listed(sorted(set(texts)), _SHOWN)
            raise UserInputError(f"no row has {column}={value}; its values are {known}.")
    return np.asarray(texts.isin(values))


def _listed(names: Sequence[str], most: int) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
