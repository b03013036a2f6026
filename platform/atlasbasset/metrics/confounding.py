"""Whether labels leave room to tell a batch's effect from the composition of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["batch_groups"]

_FEW = 3
"""Cells of a label in a batch that are too few to compare."""


def batch_groups(labels: ArrayLike, batches: ArrayLike) -> list[list[str]]:
    """Return the batches in groups that labels join: within a group they can be compared.

    Two batches are joined by a label that both have, in three cells or more. Between groups every
    difference of batches is a difference of labels as well.

    Parameters
    ----------
    labels, batches
        Shape (N,): each cell's; cells where either is missing are left out.
    """
    columns = {"label": np.asarray(labels, object), "batch": np.asarray(batches, object)}
    known = pd.DataFrame(columns).dropna().astype(str)
    counts = pd.crosstab(known["batch"], known["label"])
    n_batches, n_labels = counts.shape
    batch, label = np.nonzero(counts.to_numpy() >= _FEW)
    size = n_batches + n_labels
    edges = sparse.coo_array((np.ones(len(batch)), (batch, n_batches + label)), (size, size))
    group = connected_components(edges, directed=False)[1][:n_batches]
    return [list(counts.index[group == name]) for name in dict.fromkeys(group.tolist())]
