"""Groups of cells, and the mean embedding of each.

Everything on the linear scale is linear in a cell's embedding, so the mean of a score over the
cells of a group is the score of the group's mean embedding: one product of 32 numbers, regardless
of the number of cells. Cells without a label are in no group, and are counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from atlasbasset.inference.cell_labels import CellLabels, Obs, cell_labels
from atlasbasset.inference.selection import selected_rows
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from atlasbasset.inference.model import Model
    from atlasstore.results.ism_result import IsmResult

__all__ = [
    "MAX_GROUPS",
    "CellGroups",
    "cell_groups",
    "group_labels",
    "mean_embeddings",
    "regrouped",
]

MAX_GROUPS = 1000
"""More are taken for a mistake: a number of each cell, say, in the place of a label."""


@dataclass(frozen=True, eq=False, slots=True)
class CellGroups:
    """Groups of cells; or every cell by itself."""

    key: str | None
    """The column that makes the groups; None where every cell stands by itself."""
    names: tuple[str, ...]
    """The groups', in the order of `CellLabels.names`; or the cells'."""
    n_cells: NDArray[np.int64]
    """int64 (G,): cells in each."""
    embedding: NDArray[np.float32]
    """float32 (G, E): mean embedding of each group's cells."""
    members: NDArray[np.int64]
    """int64 (K,): rows of the model's cells, group after group."""
    notice: str | None = None
    """A sentence on cells that are in no group, if any."""

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
    model: Model,
    group_by: str | None,
    cells: ArrayLike | Sequence[str] | None = None,
    *,
    obs: Obs | None = None,
) -> CellGroups:
    """Return the mean embeddings of groups of a model's cells.

    Parameters
    ----------
    model
        The model with the cells; of a batch-corrected one, the cells' own embeddings are taken
        and batch terms left out.
    group_by
        Column of `obs` or ``model.obs``; None makes every cell its own group. Cells without a
        label are in no group.
    cells
        Names, a boolean mask (N,), or indices of the cells that count; all by default.
    obs
        Table of cells with the column; by default, or where it has none, the model's obs.

    Raises
    ------
    UserInputError
        The column is unknown, empty, or makes more than `MAX_GROUPS` groups; `obs` cannot be read,
        has none of the cells, or comes without `group_by`; or cells are unknown or none.
    """
    rows = selected_rows(model.obs_names, cells, unit="cells")
    if not rows.size:
        raise UserInputError("no cells are chosen; leave the choice out to take all of them.")
    labels = group_labels(model.obs.iloc[rows], group_by, obs=obs, what=model.url)
    if labels is None:
        names = tuple(str(name) for name in model.obs_names[rows])
        ones = np.ones(len(rows), np.int64)
        return CellGroups(None, names, ones, model.cell_embedding[rows], rows)
    means = mean_embeddings(model.cell_embedding[rows], labels)
    order = np.argsort(labels.codes, kind="stable")[labels.n_unlabelled :]
    return CellGroups(group_by, labels.names, labels.counts, means, rows[order], labels.notice())


def mean_embeddings(embedding: NDArray[np.float32], labels: CellLabels) -> NDArray[np.float32]:
    """Return the mean of each label's rows, float32 (G, E), summed in float64."""
    rows = np.flatnonzero(labels.codes >= 0)
    at = (labels.codes[rows], rows)
    shape = (len(labels.names), len(embedding))
    members = sparse.csr_array((np.ones(len(rows)), at), shape=shape)
    return np.asarray((members @ embedding) / labels.counts[:, None], dtype=np.float32)


def group_labels(
    cells: pd.DataFrame, group_by: str | None, *, obs: Obs | None = None, what: str
) -> CellLabels | None:
    """Return `cell_labels` that make groups; None where every cell stands by itself.

    Raises
    ------
    UserInputError
        As `cell_groups`; `what` names the table `cells`.
    """
    if group_by is None:
        if obs is not None:
            raise UserInputError(
                "a table of cells (obs) is there for its labels; name the column to group by "
                "(group_by)."
            )
        return None
    labels = cell_labels(cells, group_by, obs=obs, what=what)
    names = labels.names
    if len(names) > MAX_GROUPS:
        raise UserInputError(
            f"obs[{group_by!r}] of {what} has {len(names):,} different values ({names[0]}, "
            f"{names[1]}, ...), too many for groups of cells (at most {MAX_GROUPS:,}); give a "
            "column of labels."
        )
    return labels


def regrouped(
    result: IsmResult, group_by: str | None, *, obs: Obs | None
) -> tuple[IsmResult, str | None]:
    """Return an ISM result of cells with its scores in groups, and a sentence on cells left out.

    Parameters
    ----------
    result
        Returned as it is where neither of the other two is given.
    group_by
        Column of `obs`.
    obs
        Table of cells.

    Raises
    ------
    UserInputError
        The result has groups already, or one of the two is missing; or as `cell_groups`.
    """
    if group_by is None and obs is None:
        return result, None
    if group_by is None or obs is None:
        raise UserInputError(
            f"cells of {result.url} are grouped by a column (group_by) of a table of cells (obs); "
            "give both."
        )
    if result.is_grouped:
        raise UserInputError(
            f"{result.url} is of groups of cells already; give one of cells (made without "
            "--group-by), or leave the table of cells out."
        )
    labels = group_labels(result.groups, group_by, obs=obs, what=result.url)
    if labels is None:
        raise AssertionError("a column was named")
    table = pd.DataFrame({"n_cells": labels.counts}, index=pd.Index(labels.names, dtype=object))
    return result.grouped(table, mean_embeddings(result.embedding, labels)), labels.notice()
