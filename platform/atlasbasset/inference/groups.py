"""Groups of cells, and the mean embedding of each.

Everything on the linear scale is linear in a cell's embedding, so the mean of a score over the
cells of a group is the score of the group's mean embedding: one product of 32 numbers, regardless
of the number of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from atlasbasset.inference.selection import selected_rows
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from atlasbasset.inference.model import Model

__all__ = ["MAX_GROUPS", "CellGroups", "cell_groups", "group_codes"]

MAX_GROUPS = 1000
"""More are taken for a mistake: a number of each cell, say, in the place of a label."""

_LISTED = 8


@dataclass(frozen=True, eq=False, slots=True)
class CellGroups:
    """Groups of cells; or every cell by itself."""

    key: str | None
    """The obs column that makes the groups; None where every cell stands by itself."""
    names: tuple[str, ...]
    """The groups', in the order of the categories, else sorted; or the cells'."""
    n_cells: NDArray[np.int64]
    """int64 (G,): cells in each."""
    embedding: NDArray[np.float32]
    """float32 (G, E): mean embedding of each group's cells."""

    @property
    def is_grouped(self) -> bool:
        """Whether a row stands for several cells."""
        return self.key is not None

    def __len__(self) -> int:
        return len(self.names)

    def table(self) -> pd.DataFrame:
        """Return one row per group, with ``n_cells``, indexed by name."""
        index = pd.Index(list(self.names), dtype=object, name=self.key)
        return pd.DataFrame({"n_cells": self.n_cells}, index=index)


def cell_groups(
    model: Model, group_by: str | None, cells: ArrayLike | Sequence[str] | None = None
) -> CellGroups:
    """Return the mean embeddings of groups of a model's cells.

    Parameters
    ----------
    model
        The model with the cells; of a batch-corrected one, the cells' own embeddings are taken
        and batch terms left out.
    group_by
        Column of ``model.obs``; None makes every cell its own group.
    cells
        Names, a boolean mask (N,), or indices of the cells that count; all by default.

    Raises
    ------
    UserInputError
        The column is unknown, lacks values for chosen cells, or makes more than `MAX_GROUPS`
        groups; or cells are unknown or none.
    """
    rows = selected_rows(model.obs_names, cells, unit="cells")
    if not rows.size:
        raise UserInputError("no cells are chosen; leave the choice out to take all of them.")
    if group_by is None:
        names = tuple(str(name) for name in model.obs_names[rows])
        ones = np.ones(len(rows), np.int64)
        return CellGroups(None, names, ones, model.cell_embedding[rows])
    found, codes = group_codes(model.obs.iloc[rows], group_by, what=model.url)
    counts = np.bincount(codes, minlength=len(found))
    return CellGroups(group_by, found, counts, _means(model.cell_embedding[rows], codes, counts))


def _means(
    embedding: NDArray[np.float32], codes: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Average the rows of each code, summing in float64."""
    at = (codes, np.arange(len(codes)))
    members = sparse.csr_array((np.ones(len(codes)), at), shape=(len(counts), len(codes)))
    return np.asarray((members @ embedding) / counts[:, None], dtype=np.float32)


def group_codes(
    obs: pd.DataFrame, key: str, *, what: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the groups' names, and each row's group, int64; groups without rows are left out.

    Raises
    ------
    UserInputError
        As `cell_groups`; `what` names the table.
    """
    values = _column(obs, key, what)
    missing = int(values.isna().sum())
    if missing:
        raise UserInputError(
            f"obs[{key!r}] of {what} lacks a value for {missing:,} of {len(values):,} cells; fill "
            "them in, or group by another column."
        )
    labels = values.astype("category").cat.remove_unused_categories()
    names = tuple(str(name) for name in labels.cat.categories)
    if len(names) > MAX_GROUPS:
        raise UserInputError(
            f"obs[{key!r}] of {what} has {len(names):,} different values ({names[0]}, {names[1]}, "
            f"...), too many for groups of cells (at most {MAX_GROUPS:,}); give a column of labels."
        )
    return names, np.asarray(labels.cat.codes, dtype=np.int64)


def _column(obs: pd.DataFrame, key: str, what: str) -> pd.Series[Any]:
    if key in obs.columns:
        return obs[key]
    columns = [str(name) for name in obs.columns]
    more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
    listed = ", ".join(columns[:_LISTED]) or "none"
    raise UserInputError(
        f"obs of {what} has no column {key!r} to group its cells by; its columns: {listed}{more}."
    )
