"""Which cells a measure uses: those with a label, and a seeded sample of them where N is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["LabelledCells", "checked_embedding", "labelled_cells", "sample_rows"]


@dataclass(frozen=True, slots=True)
class LabelledCells:
    """The cells that have a label (or batch)."""

    embedding: NDArray[np.float32]
    """Shape (n, E): rows of the labelled cells, in their order."""
    codes: NDArray[np.intp]
    """Shape (n,): each cell's label as a place in `names`."""
    names: tuple[str, ...]
    """The labels that occur, sorted."""
    n_unlabelled: int
    """Cells left out because their label is missing (NaN or None)."""


def checked_embedding(embedding: ArrayLike, *, name: str = "embedding") -> NDArray[np.float32]:
    """Return the embedding as float32 (N, E), or say what is wrong with it."""
    table = np.asarray(embedding, np.float32)
    if table.ndim != 2 or 0 in table.shape:
        raise UserInputError(f"The {name} must be a cells x numbers table, not {table.shape}.")
    if not np.isfinite(table).all():
        raise UserInputError(f"The {name} has NaN or infinite numbers; leave those cells out.")
    return table


def labelled_cells(embedding: ArrayLike, labels: ArrayLike) -> LabelledCells:
    """Keep the cells whose label is known.

    Raises
    ------
    UserInputError
        There is not one label per cell, no cell has one, or the embedding is not a finite table.
    """
    table, series = checked_embedding(embedding), pd.Series(labels, dtype=object)
    if len(series) != len(table):
        raise UserInputError(
            f"There are {len(series)} labels for {len(table)} cells; give one label per cell."
        )
    known = series.notna().to_numpy()
    if not known.any():
        raise UserInputError("No cell has a label; name an obs column that is filled.")
    codes, names = pd.factorize(series[known].astype(str).to_numpy(dtype=object), sort=True)
    unlabelled = int(np.count_nonzero(~known))
    return LabelledCells(
        table if unlabelled == 0 else table[known],
        codes.astype(np.intp),
        tuple(str(name) for name in names),
        unlabelled,
    )


def sample_rows(n: int, size: int, *, seed: int) -> NDArray[np.intp]:
    """Draw `size` of `n` rows without replacement, in ascending order; all where size >= n."""
    if size >= n:
        return np.arange(n, dtype=np.intp)
    drawn = np.random.default_rng(seed).choice(n, size, replace=False)
    return np.sort(drawn).astype(np.intp)
