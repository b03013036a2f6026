"""Labels of cells: from obs, or from a table that was made after it.

Train, embed, cluster, name the clusters: labels come last. Such a table's rows are matched to the
cells by name. Cells without a label are left out of what needs one, and are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.inputs.cell_table import read_cell_table
from atlasstore.zarrio.tidy import as_category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "CellLabels",
    "Obs",
    "cell_labels",
    "check_batches",
    "is_missing",
    "joined_columns",
    "new_columns",
    "opened_table",
]

Obs = str | Path | pd.DataFrame
"""A table of cells: path or URL as for `read_cell_table`, or a table indexed by name."""

_LISTED = 8
_OWN = "scbasset_"
"""Begins the names of columns that a model depends on."""
_LEAST_CELLS = 10
"""Cells of a batch on average; with fewer, a column of batches is doubtful."""
_MISSING = ("", "nan", "<na>")
"""Texts, in lower case, that stand for no label: how an empty value is written as text."""


@dataclass(frozen=True, eq=False, slots=True)
class CellLabels:
    """A label for each of N cells, or none."""

    key: str
    """The column they are of."""
    names: tuple[str, ...]
    """Labels that occur, in the order of the categories; of text, in natural order (t2, t10)."""
    codes: NDArray[np.int64]
    """int64 (N,): each cell's place in `names`; -1 for none."""
    n_unknown: int = 0
    """Rows of a given table that are none of the cells."""

    @property
    def n_unlabelled(self) -> int:
        """Cells without a label."""
        return int((self.codes < 0).sum())

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 (G,): cells of each label."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))

    def values(self) -> NDArray[np.object_]:
        """Return each cell's label, None for none."""
        return np.array([*self.names, None], dtype=object)[self.codes]

    def notice(self) -> str | None:
        """Return a sentence on cells that have no label and labels that have no cell, if any."""
        parts = []
        if self.n_unlabelled:
            parts.append(
                f"{self.n_unlabelled:,} of {len(self.codes):,} cells have no label in "
                f"{self.key!r} and are left out"
            )
        if self.n_unknown:
            parts.append(f"{self.n_unknown:,} names in the table of cells are none of the model's")
        return "; ".join(parts) + "." if parts else None


def cell_labels(cells: pd.DataFrame, key: str, *, obs: Obs | None = None, what: str) -> CellLabels:
    """Return the labels of cells.

    Parameters
    ----------
    cells
        One row per cell, indexed by name.
    key
        Column of `obs`, or of `cells` where `obs` has none. Empty text and "nan" are no labels.
    obs
        Table whose rows are matched to `cells` by name; cells that it lacks have no label.
    what
        Names `cells` in messages.

    Raises
    ------
    UserInputError
        The column is unknown or has no label; `obs` cannot be read, names a cell twice, or has
        none of the cells.
    """
    column, n_unknown = None, 0
    if obs is not None:
        table = opened_table(obs)
        if key in table.columns:
            n_unknown = n_unmatched(cells.index, table.index, what=what)
            column = _categories(table[key]).reindex(cells.index.astype(str))
    if column is None:
        column = _categories(_column(cells, key, what))
    categories, codes = column.cat.categories, column.cat.codes.to_numpy()
    is_label = ~is_missing(categories.to_series())
    used = np.intersect1d(np.flatnonzero(is_label), codes)
    if not used.size:
        raise UserInputError(
            f"obs[{key!r}] of {what} has no label for any of {len(cells):,} cells; fill it in, or "
            "name another column."
        )
    place = np.full(len(categories) + 1, -1, np.int64)  # the last is for code -1
    place[used] = np.arange(len(used))
    return CellLabels(key, tuple(map(str, categories[used])), place[codes], n_unknown)


def check_batches(labels: CellLabels, what: str, *, least: int = 1) -> str | None:
    """Return a warning where batches are doubtful, or raise where they are none.

    Parameters
    ----------
    labels
        The cells' batches.
    what
        Names the cells in messages.
    least
        Fewer batches are refused; of one batch it is otherwise said that it changes nothing.

    Raises
    ------
    UserInputError
        When every cell is a batch of its own, or there are fewer than `least`.
    """
    key, n_batches, n_cells = labels.key, len(labels.names), int(labels.counts.sum())
    if n_batches == 1:
        notice = (
            f"obs[{key!r}] of {what} has one batch ({labels.names[0]}) for all cells, so there is "
            "nothing to compare or correct; leave the batch key out, or name another column."
        )
        if least > 1:
            raise UserInputError(notice)
        return notice
    if n_batches == n_cells:
        raise UserInputError(
            f"obs[{key!r}] of {what} makes every one of {n_cells:,} cells a batch of its own; name "
            "a column of batches (donors, lanes, protocols)."
        )
    if n_batches * _LEAST_CELLS > n_cells:
        return (
            f"{key!r} has {n_batches:,} batches of {n_cells / n_batches:.1f} cells on average; "
            "make sure that it is a column of batches."
        )
    return None


def _categories(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return labels as categories, text in natural order, indexed by the cells' names as text."""
    if column.dtype == object or pd.api.types.is_string_dtype(column.dtype):
        column = as_category(column.astype(str).where(column.notna()))
    index = pd.Index(column.index.astype(str), dtype=object)
    return column.astype("category").set_axis(index, axis=0)


def is_missing(values: pd.Series[Any]) -> NDArray[np.bool_]:
    """Return which values stand for no label: missing ones, empty text, and "nan"."""
    text = values.astype(str).str.strip().str.lower()
    return np.asarray(values.isna() | text.isin(_MISSING))


def opened_table(obs: Obs) -> pd.DataFrame:
    """Return a table of cells, read where a path or URL is given."""
    if not isinstance(obs, pd.DataFrame):
        return read_cell_table(obs)
    twice = obs.index[obs.index.duplicated()]
    if len(twice):
        raise UserInputError(f"the table of cells names {twice[0]!r} more than once.")
    return obs


def joined_columns(
    cells: pd.DataFrame, obs: Obs, *, columns: Sequence[str] | None = None, what: str
) -> tuple[pd.DataFrame, str | None]:
    """Return columns of a table for cells, matched by name.

    Parameters
    ----------
    cells
        One row per cell, indexed by name.
    obs
        The table.
    columns
        Which of its columns; by default all that `cells` lacks.
    what
        Names `cells` in messages.

    Returns
    -------
    pandas.DataFrame
        A row for each of `cells`; text and categories as categories, missing where the table has
        no such cell, or no label.
    str or None
        A sentence on cells without a row, rows without a cell, and columns left out, if any.

    Raises
    ------
    UserInputError
        The table cannot be read, has none of the cells, or lacks a column; or a column is one of
        the model's own (``scbasset_...``).
    """
    table = opened_table(obs)
    n_unknown = n_unmatched(cells.index, table.index, what=what)
    chosen = new_columns(cells, table) if columns is None else list(columns)
    for name in chosen:
        _column(table, name, "the table")
    if own := [name for name in chosen if str(name).startswith(_OWN)]:
        raise UserInputError(f"column {own[0]!r} is one of the model's own; rename it.")
    if not chosen:
        raise UserInputError(
            f"{what} has all columns of the table already ({', '.join(map(str, table.columns))}); "
            "name those that are to be replaced."
        )
    index = cells.index.astype(str)
    joined = pd.DataFrame({name: _joined(table[name], index) for name in chosen})
    n_without = int((~index.isin(table.index.astype(str))).sum())
    notice = _notice(
        n_without, len(cells), n_unknown, [name for name in table if name not in chosen]
    )
    return joined.set_axis(cells.index, axis=0), notice


def new_columns(cells: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Return the columns of a table that `cells` lacks, but those that are a model's own."""
    return [str(name) for name in table if name not in cells and not str(name).startswith(_OWN)]


def _joined(column: pd.Series[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        names = pd.Index(column.index.astype(str), dtype=object)
        return column.set_axis(names, axis=0).reindex(index)
    found = _categories(column)
    kept = found.cat.categories[~is_missing(found.cat.categories.to_series())]
    return found.cat.set_categories(kept).reindex(index)


def _notice(n_without: int, n_cells: int, n_unknown: int, kept: Sequence[Any]) -> str | None:
    parts = []
    if n_without:
        parts.append(f"{n_without:,} of {n_cells:,} cells are not in the table and have no label")
    if n_unknown:
        parts.append(f"{n_unknown:,} names in the table of cells are none of the model's")
    if kept:
        listed = ", ".join(map(str, kept[:_LISTED])) + (", ..." if len(kept) > _LISTED else "")
        parts.append(f"columns of the table that are left out: {listed}")
    return "; ".join(parts) + "." if parts else None


def n_unmatched(cells: pd.Index[Any], given: pd.Index[Any], *, what: str) -> int:
    """Return how many names of a given table are none of the cells'.

    Raises
    ------
    UserInputError
        When none is.
    """
    n_unknown = int((~given.astype(str).isin(cells.astype(str))).sum())
    if n_unknown == len(given):
        raise UserInputError(
            f"none of {len(given):,} names in the table of cells ({given[0]}, ...) is a cell of "
            f"{what} ({cells[0]}, ...); name its rows as the cells are named."
        )
    return n_unknown


def _column(obs: pd.DataFrame, key: str, what: str) -> pd.Series[Any]:
    if key in obs.columns:
        return obs[key]
    columns = [str(name) for name in obs.columns]
    more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
    listed = ", ".join(columns[:_LISTED]) or "none"
    raise UserInputError(
        f"obs of {what} has no column {key!r}; its columns: {listed}{more}. Name one of these, or "
        "give a table of the cells that has it (obs)."
    )
