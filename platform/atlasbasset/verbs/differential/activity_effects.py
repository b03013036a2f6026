"""Least squares of TF activity on group, depth and covariates, with errors of MacKinnon and White.

Source: docs/differential.md, "The test of a motif".

On the linear scale an activity is ``W . u`` of the cells' embeddings W and the motif's effect u,
and so are its coefficient and its error: all motifs follow from one regression of W, and the table
of cells x motifs is not read. After a sigmoid it is, once for all contrasts.

Shape letters: N cells, M motifs, F coefficients, E embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlasbasset.verbs.differential.design import design_of
from atlasstore.events import Progress
from atlasstore.zarrio.blocks import runs
from atlasstore.zarrio.names import EMBEDDING, SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.differential.design import Contrast
    from atlasstore.events import Subscriber
    from atlasstore.results.reader import ResultReader

__all__ = ["ActivityEffects", "CellDesign", "activity_effects", "cell_design"]

_READ_CELLS = 8192
_LEAST_LEFT = 1e-3
"""Part of a cell's own residual that is left at least, where it alone sets a coefficient."""


class CellDesign(NamedTuple):
    """Cells of a contrast and their covariates."""

    x: NDArray[np.float64]
    """(N, F), zero for cells outside; the last column is 1 for the group."""
    weight: NDArray[np.float64]
    """(N,): the group's coefficient is the sum of weight times activity."""
    squares: NDArray[np.float64]
    """(N,): ``(weight / (1 - leverage))^2``, which HC3 multiplies squared residuals with."""

    @property
    def n_fewest(self) -> int:
        """Cells of the smaller group."""
        in_group, inside = self.x[:, -1].sum(), self.x[:, 0].sum()
        return int(min(in_group, inside - in_group))


class ActivityEffects(NamedTuple):
    """Effects of motifs in one contrast, in units of the activity itself."""

    names: NDArray[np.object_]
    effect: NDArray[np.float64]
    error: NDArray[np.float64]
    """Of the draw of cells."""
    sd: NDArray[np.float64]
    """Of the activity over all cells."""


def cell_design(
    contrast: Contrast,
    codes: NDArray[np.int64],
    covariates: NDArray[np.int64],
    depth: NDArray[np.float64],
    names: Sequence[str],
) -> CellDesign:
    """Return the design of a contrast's cells; parameters as for `design_of`."""
    rows, chosen = design_of(contrast, codes, covariates, depth, names)
    x = np.zeros((len(codes), chosen.shape[1]))
    x[rows] = chosen
    inverse = np.linalg.inv(chosen.T @ chosen)
    weight, leverage = x @ inverse[:, -1], ((x @ inverse) * x).sum(axis=1)
    return CellDesign(x, weight, (weight / np.maximum(1 - leverage, _LEAST_LEFT)) ** 2)


def activity_effects(
    designs: Sequence[CellDesign], activity: ResultReader, *, on_event: Subscriber
) -> list[ActivityEffects]:
    """Return the effect of every motif in every contrast."""
    names = activity.var["motif"].astype(str).to_numpy(object)
    sd = activity.var["sd"].to_numpy(np.float64)
    if activity.about.get("scale") == "linear" and activity.has(f"varm/{SEQUENCE}"):
        of_motif = activity.rows(f"varm/{SEQUENCE}").astype(np.float64)
        embedding = activity.rows(f"obsm/{EMBEDDING}")
        found = [_of_embedding(design, embedding, of_motif) for design in designs]
        return [ActivityEffects(names, effect, error, sd) for effect, error in found]
    sums = [_Sums(design) for design in designs]
    for start, stop in runs(activity.n_obs, _READ_CELLS):
        z = activity.rows("X", start, stop).astype(np.float64)
        for one in sums:
            one.add(start, z)
        on_event(Progress("reading TF activity", stop, activity.n_obs, "cells"))
    found = [one.effect_and_error() for one in sums]
    return [ActivityEffects(names, effect * sd, error * sd, sd) for effect, error in found]


def _of_embedding(
    design: CellDesign, embedding: NDArray[np.float32], of_motif: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients and errors of ``embedding @ of_motif.T`` (N, M) without making it."""
    x = design.x
    beta = np.linalg.solve(x.T @ x, x.T @ embedding)
    covariance = np.zeros((embedding.shape[1], embedding.shape[1]))
    for start, stop in runs(len(embedding), _READ_CELLS):
        residual = embedding[start:stop] - x[start:stop] @ beta
        covariance += (residual * design.squares[start:stop, None]).T @ residual
    error = np.sqrt(np.maximum(((of_motif @ covariance) * of_motif).sum(axis=1), 0))
    return of_motif @ beta[-1], error


@dataclass(eq=False)
class _Sums:
    """Sums over a contrast's cells of covariates x, activities z and their squares."""

    design: CellDesign
    xz: NDArray[np.float64] | float = 0.0
    zz: NDArray[np.float64] | float = field(default=0.0)
    """Sums of the design's squares times z^2."""
    xxz: NDArray[np.float64] | float = 0.0
    """The same, times x z."""

    def add(self, start: int, z: NDArray[np.float64]) -> None:
        """Add the activities (n, M) of the cells from `start` on."""
        cells = slice(start, start + len(z))
        x, a = self.design.x[cells], self.design.squares[cells]
        self.xz += x.T @ z
        self.zz += a @ (z * z)
        self.xxz += (x * a[:, None]).T @ z

    def effect_and_error(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the group's coefficient of each motif and its standard error."""
        x = self.design.x
        beta = np.linalg.solve(x.T @ x, self.xz)
        xx = (x * self.design.squares[:, None]).T @ x
        squares = self.zz - 2 * (beta * self.xxz).sum(axis=0) + ((xx @ beta) * beta).sum(axis=0)
        return beta[-1], np.sqrt(np.maximum(squares, 0))
