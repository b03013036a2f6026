"""Which rows of a table a user means: names, a boolean mask, or indices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["named_rows", "selected_rows"]


def selected_rows(
    names: pd.Index[Any], wanted: ArrayLike | Sequence[str] | None, *, unit: str
) -> NDArray[np.int64]:
    """Return the rows that `wanted` means, int64, in its order.

    Parameters
    ----------
    names
        All names, one per row.
    wanted
        Names, a boolean mask of all rows, or indices from 0 (negative ones count from the end);
        None means all rows.
    unit
        What rows are, in the plural ("cells"), for messages.

    Raises
    ------
    UserInputError
        When something in it is no row.
    """
    if wanted is None:
        return np.arange(len(names))
    given = np.asarray(wanted)
    if given.ndim != 1:
        raise UserInputError(f"{unit} are chosen by one vector; its shape is {given.shape}.")
    if given.dtype == bool:
        return _masked_rows(given, len(names), unit)
    if np.issubdtype(given.dtype, np.integer):
        return _indexed_rows(given, len(names), unit)
    return named_rows(names, [str(name) for name in given], unit=unit)


def _masked_rows(mask: NDArray[np.bool_], n_rows: int, unit: str) -> NDArray[np.int64]:
    if len(mask) != n_rows:
        raise UserInputError(
            f"the mask of {unit} has {len(mask)} values for {n_rows} {unit}; give one each."
        )
    return np.flatnonzero(mask)


def _indexed_rows(given: NDArray[Any], n_rows: int, unit: str) -> NDArray[np.int64]:
    rows = given.astype(np.int64)
    outside = rows[(rows < -n_rows) | (rows >= n_rows)]
    if outside.size:
        raise UserInputError(f"index {outside[0]} is not one of {n_rows} {unit}.")
    return np.where(rows < 0, rows + n_rows, rows)


def named_rows(names: pd.Index[Any], wanted: Sequence[str], *, unit: str) -> NDArray[np.int64]:
    """Return the row of each name of `wanted`, int64.

    Raises
    ------
    UserInputError
        When a name is unknown (the message gives the first few) or stands twice.
    """
    rows = names.get_indexer(pd.Index(list(wanted), dtype=object)).astype(np.int64)
    if (rows < 0).any():
        unknown = [str(name) for name, row in zip(wanted, rows, strict=True) if row < 0]
        listed = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise UserInputError(
            f"{len(unknown)} of {len(rows)} {unit} are unknown ({listed}); known ones are "
            f"called like {names[0]}."
        )
    if len(np.unique(rows)) < len(rows):
        seen, counts = np.unique(rows, return_counts=True)
        raise UserInputError(
            f"{names[seen[counts > 1][0]]} is listed more than once; list each of the {unit} once."
        )
    return rows
