"""Which batch is which of a weight file's: files number batches and do not name them.

The released code's batches are the columns of ``pandas.get_dummies``: the categories of the column,
in their order. AnnData makes text into categories in natural order (donor1, donor2, donor10), not
in that of text (donor1, donor10, donor2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError
from atlasstore.zarrio.tidy import as_category

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Batches", "OrderedBy", "number_batches"]

OrderedBy = Literal["given", "categories", "natural order", "file"]


class Batches(NamedTuple):
    """Each cell's batch, and how they came to be numbered."""

    codes: NDArray[np.int64]
    """(N,)."""
    names: tuple[str, ...]
    ordered_by: OrderedBy


def number_batches(
    labels: pd.Series[str] | pd.Categorical | Sequence[str],
    order: Sequence[str] | None = None,
    *,
    n_cells: int,
    n_batches: int,
) -> Batches:
    """Give batches their numbers.

    Parameters
    ----------
    labels
        Each cell's batch, in the model's order; a category's values are in their order.
    order
        All names, in the order of the model's batches.
    n_cells, n_batches
        Of the model.

    Raises
    ------
    UserInputError
        When there is not one label for each cell, or not one name for each batch.
    """
    column: pd.Series[Any] = pd.Series(labels).reset_index(drop=True)
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    ordered_by: OrderedBy = "categories" if is_category else "natural order"
    if not is_category:
        column = as_category(column.astype(str).where(column.notna()))
    elif column.cat.categories.size != n_batches:
        column = column.cat.remove_unused_categories()
    names, codes = tuple(map(str, column.cat.categories)), np.asarray(column.cat.codes, np.int64)
    if len(codes) != n_cells or len(names) != n_batches or (codes < 0).any():
        raise UserInputError(
            f"the model has {n_cells} cells in {n_batches} batches, but {(codes >= 0).sum()} "
            f"labels of {len(names)} batches were given; give one per cell, in the model's order."
        )
    if order is None:
        return Batches(codes, names, ordered_by)
    if sorted(order) != sorted(names):
        raise UserInputError(
            f"the order names the batches {', '.join(order)}, but the cells are of "
            f"{', '.join(names)}; name each of these once."
        )
    place = np.array([list(order).index(name) for name in names])
    return Batches(place[codes], tuple(order), "given")
