"""Differential TF activity: every motif's z-scores against the groups, by least squares.

Source: docs/differential.md, "The test of a motif".

Cells of a group differ more than others may, so standard errors are those of MacKinnon and White
(1985), HC3. All sums over cells that a motif's test needs are taken in one pass over the result.

Shape letters: N cells, M motifs, F coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import t as student

from atlasbasset.verbs.differential.design import design_of
from atlasbasset.verbs.differential.peaks import q_values
from atlasstore.events import Progress
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.differential.design import Contrast
    from atlasstore.events import Subscriber
    from atlasstore.results.reader import ResultReader

__all__ = ["MOTIF_COLUMNS", "test_motifs"]

MOTIF_COLUMNS = {
    "motif": "text",
    "tf": "text",
    "group": "text",
    "reference": "text",
    "effect": "float64",
    "standard_error": "float64",
    "p": "float64",
    "q": "float64",
}
_READ_CELLS = 8192


@dataclass(eq=False)
class _Sums:
    """Sums over a contrast's cells of covariates x, activities z and their squares."""

    design: NDArray[np.float64]
    """(N, F), zero for cells outside."""
    weight: NDArray[np.float64]
    """(N,): the group's coefficient is the sum of weight times z."""
    leverage: NDArray[np.float64]
    """(N,)."""
    xz: NDArray[np.float64] | float = 0.0
    zz: NDArray[np.float64] | float = field(default=0.0)
    """Sums of ``(weight / (1 - leverage))^2`` times z^2."""
    xxz: NDArray[np.float64] | float = 0.0
    """The same, times x z."""

    def add(self, start: int, z: NDArray[np.float64]) -> None:
        """Add the activities (n, M) of the cells from `start` on."""
        cells = slice(start, start + len(z))
        x, a = self.design[cells], self._squares[cells]
        self.xz += x.T @ z
        self.zz += a @ (z * z)
        self.xxz += (x * a[:, None]).T @ z

    @property
    def _squares(self) -> NDArray[np.float64]:
        return np.asarray((self.weight / (1 - np.minimum(self.leverage, 0.999))) ** 2)

    def effect_and_error(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the group's coefficient of each motif and its standard error."""
        beta = np.linalg.solve(self.design.T @ self.design, self.xz)
        xx = (self.design * self._squares[:, None]).T @ self.design
        squares = self.zz - 2 * (beta * self.xxz).sum(axis=0) + ((xx @ beta) * beta).sum(axis=0)
        return beta[-1], np.sqrt(np.maximum(squares, 0))


def test_motifs(
    contrasts: Sequence[Contrast],
    activity: ResultReader,
    codes: NDArray[np.int64],
    covariates: NDArray[np.int64],
    depth: NDArray[np.float64],
    names: Sequence[str],
    *,
    on_event: Subscriber,
) -> list[pd.DataFrame]:
    """Test every motif in every contrast.

    Parameters
    ----------
    codes, covariates, depth
        (N,), (N, C) and (N,): label, covariates and depth of each cell; -1 for none.

    Returns
    -------
    list of pandas.DataFrame
        For each contrast a row per motif: ``effect`` in sd of the activity over all cells,
        ``standard_error``, ``p``, ``q``.
    """
    sums = [_begun(contrast, codes, covariates, depth, names) for contrast in contrasts]
    for start, stop in runs(len(codes), _READ_CELLS):
        z = activity.rows("X", start, stop).astype(np.float64)
        for one in sums:
            one.add(start, z)
        on_event(Progress("reading TF activity", stop, len(codes), "cells"))
    return [_table(one) for one in sums]


def _begun(
    contrast: Contrast,
    codes: NDArray[np.int64],
    covariates: NDArray[np.int64],
    depth: NDArray[np.float64],
    names: Sequence[str],
) -> _Sums:
    rows, chosen = design_of(contrast, codes, covariates, depth, names)
    design = np.zeros((len(codes), chosen.shape[1]))
    design[rows] = chosen
    inverse = np.linalg.inv(chosen.T @ chosen)
    weight = design @ inverse[:, -1]
    return _Sums(design, weight, ((design @ inverse) * design).sum(axis=1))


def _table(sums: _Sums) -> pd.DataFrame:
    effect, error = sums.effect_and_error()
    side, inside = sums.design[:, -1], sums.design[:, 0]
    n_fewest = int(min(side.sum(), inside.sum() - side.sum()))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * student.sf(np.abs(effect / error), max(n_fewest - 1, 1))
    values = {"effect": effect, "standard_error": error, "p": p, "q": q_values(p)}
    return pd.DataFrame(values)
