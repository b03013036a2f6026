"""Which cells are compared, and what else tells them apart: cells in bins that are alike.

Source: docs/differential.md, "Bins".

A peak's labels enter its test only through the number of open cells of each bin. A bin is a group,
a value of every covariate, and a range of depth; so the test of a peak costs the same for a
thousand cells and a million.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels

__all__ = [
    "REST",
    "CellBins",
    "Contrast",
    "contrasts_of",
    "covariate_values",
    "design_of",
    "make_bins",
]

REST = "rest"
"""Reference: all cells with a label that are not of the group."""
_MAX_BINS = 512
_DEPTHS = (4, 32)
"""Fewest and most ranges of depth in cells that are otherwise alike."""
_LEAST_CELLS = 2
"""Of a group that is compared."""
_NOTHING = 1e-8
"""Part of a column, relative to it, below which what others leave of it is rounding."""


@dataclass(frozen=True, eq=False, slots=True)
class Contrast:
    """Two groups of cells."""

    group: str
    reference: str
    code: int
    """Of `group` among the labels."""
    against: int | None
    """Code of the reference; None is the rest."""

    def side(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return 1 for the group, 0 for the reference and NaN for the others."""
        is_reference = codes >= 0 if self.against is None else codes == self.against
        return np.where(codes == self.code, 1.0, np.where(is_reference, 0.0, np.nan))


@dataclass(frozen=True, eq=False, slots=True)
class CellBins:
    """Cells that are alike, together. Letters: B bins, C covariates."""

    of_cell: NDArray[np.int64]
    """int64 (N,): each cell's bin; -1 for cells that lack a label."""
    n_cells: NDArray[np.int64]
    """int64 (B,)."""
    codes: NDArray[np.int64]
    """int64 (B,): label of the bin's cells."""
    covariates: NDArray[np.int64]
    """int64 (B, C): value of each covariate."""
    depth: NDArray[np.float64]
    """float64 (B,): mean depth of the bin's cells, log odds."""

    def __len__(self) -> int:
        return len(self.n_cells)


def contrasts_of(
    labels: CellLabels, groups: Sequence[str] | None, reference: str
) -> list[Contrast]:
    """Return the groups to compare with a reference.

    Raises
    ------
    UserInputError
        A group is unknown, is its own reference, or has fewer than two cells; or there is one
        group only.
    """
    place = {name: code for code, name in enumerate(labels.names)}
    known = ", ".join(labels.names[:8]) + (", ..." if len(labels.names) > 8 else "")
    chosen = list(dict.fromkeys(groups or [name for name in labels.names if name != reference]))
    for name in [*chosen, *([] if reference == REST else [reference])]:
        if name not in place:
            raise UserInputError(f"{labels.key!r} has no group {name!r}; it has {known}.")
        if labels.counts[place[name]] < _LEAST_CELLS:
            raise UserInputError(
                f"group {name!r} of {labels.key!r} has one cell, too few to compare; leave it out."
            )
    if reference in chosen:
        raise UserInputError(f"group {reference!r} is its own reference; name another one.")
    if len(labels.names) < 2:
        raise UserInputError(
            f"{labels.key!r} has one group ({known}), so there is nothing to compare; name another "
            "column."
        )
    against = None if reference == REST else place[reference]
    return [Contrast(name, reference, place[name], against) for name in chosen]


def covariate_values(covariates: Sequence[CellLabels], n_cells: int) -> NDArray[np.int64]:
    """Return the cells' values of each covariate, int64 (N, C); -1 for none."""
    columns = [one.codes for one in covariates]
    return np.stack(columns, axis=1) if columns else np.empty((n_cells, 0), np.int64)


def make_bins(
    labels: CellLabels,
    covariates: Sequence[CellLabels],
    depth: NDArray[np.float64],
    contrasts: Sequence[Contrast],
) -> CellBins:
    """Bin the cells of all contrasts by label, covariates and depth.

    Parameters
    ----------
    depth
        (N,): each cell's depth, log odds. Cells that are otherwise alike are cut into ranges of
        it with equal numbers of cells.
    """
    values = np.stack([labels.codes, *(one.codes for one in covariates)], axis=1)
    sides = np.stack([contrast.side(labels.codes) for contrast in contrasts])
    used = np.flatnonzero((values >= 0).all(axis=1) & ~np.isnan(sides).all(axis=0))
    if not used.size:
        raise UserInputError("no cell has a label and a value of every covariate.")
    alike, stratum = np.unique(values[used], axis=0, return_inverse=True)
    n_depths = int(np.clip(_MAX_BINS // len(alike), *_DEPTHS))
    bins = _cut(stratum.reshape(-1), depth[used], n_depths)
    first = np.unique(bins, return_index=True)[1]
    n_cells = np.bincount(bins)
    of_cell = np.full(len(depth), -1, np.int64)
    of_cell[used] = bins
    alike_of_bin = values[used][first]
    means = np.bincount(bins, weights=depth[used]) / n_cells
    return CellBins(of_cell, n_cells, alike_of_bin[:, 0], alike_of_bin[:, 1:], means)


def _cut(
    stratum: NDArray[np.int64], depth: NDArray[np.float64], n_depths: int
) -> NDArray[np.int64]:
    """Return a number for each stratum and range of depth in it, without a gap."""
    order = np.lexsort((depth, stratum))
    sizes = np.bincount(stratum)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cut = rank * np.minimum(n_depths, sizes)[stratum[order]] // sizes[stratum[order]]
    found = np.empty(len(order), np.int64)
    found[order] = stratum[order] * n_depths + cut
    return np.unique(found, return_inverse=True)[1].reshape(-1)


def design_of(
    contrast: Contrast,
    codes: NDArray[np.int64],
    covariates: NDArray[np.int64],
    depth: NDArray[np.float64],
    names: Sequence[str] = (),
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which rows a contrast compares, int64 (R,), and their covariates, float64 (R, F).

    Rows are bins or cells. The columns are 1, depth less its mean, an indicator for each value of
    each covariate but one, and last 1 for the group and 0 for the reference; of the ones between,
    those that add nothing are left out.

    Raises
    ------
    UserInputError
        The covariates tell the groups apart.
    """
    side = contrast.side(codes)
    rows = np.flatnonzero(~np.isnan(side) & (covariates >= 0).all(axis=1))
    side, own = side[rows], depth[rows]
    columns = [np.ones(len(rows)), own - own.mean()]
    for column in covariates[rows].T:
        columns += [(column == value).astype(float) for value in np.unique(column)[1:]]
    design = np.stack([*columns, side], axis=1)
    adds = _adds(design)
    if not adds[-1]:
        what = " and ".join(repr(name) for name in names) or "depth"
        raise UserInputError(
            f"{what} tells {contrast.group!r} and {contrast.reference!r} apart: no value has cells "
            "of both, so their difference cannot be told from the covariate's; leave it out."
        )
    return rows, design[:, adds]


def _adds(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which columns are no sum of those before them."""
    left = np.abs(np.diag(np.linalg.qr(columns, mode="r")))
    found = np.zeros(columns.shape[1], bool)
    found[: len(left)] = left > _NOTHING * np.linalg.norm(columns, axis=0)[: len(left)]
    return found
