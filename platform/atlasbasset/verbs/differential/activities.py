"""Differential TF activity: every motif's z-scores against the groups, by least squares.

Source: docs/differential.md, "The test of a motif".

Cells of a group differ more than others may, so standard errors are those of MacKinnon and White
(1985), HC3. All sums over cells that a motif's test needs are taken in one pass over the result.

Shape letters: N cells, M motifs, F coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

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
    from atlasstore.files.table_file import ColumnType
    from atlasstore.results.reader import ResultReader

__all__ = ["MOTIF_COLUMNS", "test_motifs"]

MOTIF_COLUMNS: dict[str, ColumnType] = {
    "motif": "text",
    "tf": "text",
    "group": "text",
    "reference": "text",
    "effect": "float64",
    "shuffled_effect": "float64",
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
    shuffled: ResultReader | None,
    on_event: Subscriber,
) -> list[pd.DataFrame]:
    """Test every motif in every contrast.

    Parameters
    ----------
    codes, covariates, depth
        (N,), (N, C) and (N,): label, covariates and depth of each cell; -1 for none.
    shuffled
        Activity of copies ``NAME~1`` ... of each motif, its positions shuffled.

    Returns
    -------
    list of pandas.DataFrame
        For each contrast a row per motif: ``effect`` in sd of the activity over all cells,
        ``shuffled_effect``, the mean of its copies, ``standard_error`` of the difference of the
        two, ``p``, ``q``. Without `shuffled` the effect is held to 0, and its error is that of the
        cells alone.
    """
    begun = [_begun(contrast, codes, covariates, depth, names) for contrast in contrasts]
    found = [_effects(sums, activity) for sums in _summed(begun, activity, on_event)]
    if shuffled is None:
        return [_against_zero(one) for one in found]
    again = [_begun(contrast, codes, covariates, depth, names) for contrast in contrasts]
    copies = [_effects(sums, shuffled) for sums in _summed(again, shuffled, on_event)]
    return [_against_copies(*pair) for pair in zip(found, copies, strict=True)]


class _Effects(NamedTuple):
    """Effects of motifs in one contrast, in units of the activity itself."""

    names: NDArray[np.object_]
    effect: NDArray[np.float64]
    error: NDArray[np.float64]
    """Of the draw of cells."""
    sd: NDArray[np.float64]
    """Of the activity over all cells."""
    n_fewest: int
    """Cells of the smaller group."""


def _summed(sums: list[_Sums], activity: ResultReader, on_event: Subscriber) -> list[_Sums]:
    n_cells = activity.n_obs
    for start, stop in runs(n_cells, _READ_CELLS):
        z = activity.rows("X", start, stop).astype(np.float64)
        for one in sums:
            one.add(start, z)
        on_event(Progress("reading TF activity", stop, n_cells, "cells"))
    return sums


def _effects(sums: _Sums, activity: ResultReader) -> _Effects:
    effect, error = sums.effect_and_error()
    sd = activity.var["sd"].to_numpy(np.float64)
    side, inside = sums.design[:, -1], sums.design[:, 0]
    n_fewest = int(min(side.sum(), inside.sum() - side.sum()))
    names = activity.var["motif"].astype(str).to_numpy(object)
    return _Effects(names, effect * sd, error * sd, sd, n_fewest)


def _against_zero(found: _Effects) -> pd.DataFrame:
    return _table(found, np.full(len(found.sd), np.nan), found.error, found.n_fewest - 1)


def _against_copies(found: _Effects, copies: _Effects) -> pd.DataFrame:
    """Hold each motif's effect to those of its own copies, as one more of the same normal draw."""
    of_motif = pd.Series(copies.effect).groupby([name.rpartition("~")[0] for name in copies.names])
    mean, sd, n = (
        of_motif.agg(how)[list(found.names)].to_numpy() for how in ("mean", "std", "size")
    )
    error = np.sqrt(sd**2 * (1 + 1 / n) + found.error**2)
    return _table(found, mean, error, n - 1)


def _table(
    found: _Effects,
    shuffled: NDArray[np.float64],
    error: NDArray[np.float64],
    freedom: NDArray[np.float64] | int,
) -> pd.DataFrame:
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (found.effect - np.nan_to_num(shuffled)) / error
        p = 2 * student.sf(np.abs(t), np.maximum(freedom, 1))
        values = {
            "effect": found.effect / found.sd,
            "shuffled_effect": shuffled / found.sd,
            "standard_error": error / found.sd,
        }
    return pd.DataFrame({**values, "p": p, "q": q_values(p)})


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
