"""The cells that effects of variants are computed with, group after group.

On the linear scale the mean over a group's cells is the effect on their mean embedding. After a
sigmoid it is not: every cell's change is computed, then averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.inference.groups import CellGroups
    from atlasbasset.inference.model import Model, Scale

    Floats = NDArray[np.float32]

__all__ = ["CellTable"]


@dataclass(frozen=True, eq=False, slots=True)
class CellTable:
    """K cells in G groups; on the linear scale K = G means."""

    embedding: Floats
    """float32 (K, E)."""
    intercept: Floats
    """float32 (K,); zeros where predictions are without it."""
    counts: NDArray[np.int64]
    """int64 (G,): consecutive cells of each group."""

    @classmethod
    def of(cls, model: Model, groups: CellGroups, scale: Scale) -> CellTable:
        """Return the table of a scale.

        "sigmoid" is without intercept and batch terms, "probability" with them, as for
        `Model.predict`.
        """
        if scale == "linear":
            ones = np.ones(len(groups), np.int64)
            return cls(groups.embedding, np.zeros(len(groups), np.float32), ones)
        embedding, intercept = model.table(groups.members)
        if scale == "sigmoid":
            embedding = model.cell_embedding[groups.members]
            intercept = np.zeros(len(embedding), np.float32)
        return cls(embedding, intercept, groups.n_cells)

    def sigmoid_effects(self, h: Floats, *, values_at_once: int = 1 << 21) -> Floats:
        """Return mean changes of the sigmoid, over a group's cells and strands.

        Parameters
        ----------
        h
            float32 (V, S, 2, E), without and with the allele.
        values_at_once
            Predictions that are held at once, of each of the two alleles.

        Returns
        -------
        numpy.ndarray
            float32 (V, G).
        """
        n_variants, n_strands, _, width = h.shape
        group = np.repeat(np.arange(len(self.counts)), self.counts)
        total = np.zeros((n_variants, len(self.counts)))
        for a, b in runs(len(group), max(1, values_at_once // max(1, n_variants * n_strands))):
            logits = h.reshape(-1, width) @ self.embedding[a:b].T + self.intercept[a:b]
            predicted = expit(logits).reshape(n_variants, n_strands, 2, b - a)
            change = (predicted[:, :, 1] - predicted[:, :, 0]).sum(1, dtype=np.float64)
            groups, first = np.unique(group[a:b], return_index=True)
            total[:, groups] += np.add.reduceat(change, first, axis=1)
        return np.asarray(total / (n_strands * self.counts), np.float32)
