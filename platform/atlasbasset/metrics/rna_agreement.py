"""Whether a gene's accessibility goes with its expression: Pearson per cell and per gene.

Source: docs/method.md, "Measures". Letters: N cells, G genes. Tables are read a tile of cells at a
time; sums over cells are float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ._plain import JsonDict, mean_of_known, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Rows = Callable[[slice], NDArray[np.floating]]
    """Gives the cells of a slice, (cells, G)."""

__all__ = ["RnaAgreement", "rna_agreement"]

TILE_ELEMENTS = 1 << 22
"""Numbers of a table held at once."""
_ROUNDING = 1e-12
"""A variance below this share of the mean square is that of equal numbers, rounded."""


@dataclass(frozen=True, slots=True)
class RnaAgreement:
    """Pearson's r of gene accessibility and expression; NaN where either does not vary."""

    per_cell: NDArray[np.float64]
    """Shape (N,): over genes."""
    per_gene: NDArray[np.float64]
    """Shape (G,): over cells."""

    @property
    def mean_per_cell(self) -> float:
        """Mean over the cells that vary; NaN where there is none."""
        return mean_of_known(self.per_cell)

    @property
    def mean_per_gene(self) -> float:
        """Mean over the genes that vary; NaN where there is none."""
        return mean_of_known(self.per_gene)

    def as_json(self) -> JsonDict:
        """Give means and counts (not the arrays); a mean over nothing is None."""
        return {
            "r_per_cell": plain(self.mean_per_cell),
            "r_per_gene": plain(self.mean_per_gene),
            "n_cells": len(self.per_cell),
            "n_genes": len(self.per_gene),
            "n_cells_left_out": int(np.isnan(self.per_cell).sum()),
            "n_genes_left_out": int(np.isnan(self.per_gene).sum()),
        }


def rna_agreement(
    accessibility: Rows,
    expression: Rows,
    *,
    n_cells: int,
    n_genes: int,
    tile_elements: int = TILE_ELEMENTS,
) -> RnaAgreement:
    """Correlate two tables of the same cells and genes, along both axes.

    Parameters
    ----------
    accessibility, expression
        Called with a slice of the cells: give their rows, (cells, G).
    n_cells, n_genes
        N and G.
    tile_elements
        Numbers of a table held at once.
    """
    per_cell = np.empty(n_cells)
    columns = _Sums(n_genes)
    for at in _tiles(n_cells, max(1, tile_elements // max(1, n_genes))):
        x, y = (np.asarray(of(at), np.float64) for of in (accessibility, expression))
        per_cell[at] = _Sums.of(x.T, y.T).correlation(n_genes)
        columns.add(x, y)
    return RnaAgreement(per_cell, columns.correlation(n_cells))


class _Sums:
    """What Pearson's r needs of the columns of two tables, a run of rows after another."""

    def __init__(self, n_columns: int) -> None:
        self._sums = np.zeros((5, n_columns))

    @classmethod
    def of(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> _Sums:
        """Return those of whole tables."""
        found = cls(x.shape[1])
        found.add(x, y)
        return found

    def add(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        """Take in rows."""
        products = ("ij,ij->j", x, x), ("ij,ij->j", y, y), ("ij,ij->j", x, y)
        self._sums += [x.sum(0), y.sum(0), *(np.einsum(*product) for product in products)]

    def correlation(self, n_rows: int) -> NDArray[np.float64]:
        """Return r of each column; NaN where one of the two is constant."""
        x, y, xx, yy, xy = self._sums / n_rows
        variances = [
            np.where(square - mean**2 > _ROUNDING * square, square - mean**2, np.nan)
            for mean, square in ((x, xx), (y, yy))
        ]
        found: NDArray[np.float64] = (xy - x * y) / np.sqrt(variances[0] * variances[1])
        return np.clip(found, -1.0, 1.0)


def _tiles(n_cells: int, step: int) -> Iterator[slice]:
    for start in range(0, n_cells, step):
        yield slice(start, min(start + step, n_cells))
