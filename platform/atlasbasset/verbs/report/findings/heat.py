"""Raw and denoised accessibility of the same cells and held-out peaks, both clustered alike.

As in the paper's Fig. 4a: 200 cells and 500 peaks drawn at random, clustered by cells and peaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import pdist

from atlasbasset.metrics import sample_rows
from atlasbasset.verbs.report.findings.missing import Missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasbasset.verbs.report.findings.predictions import Predictions

__all__ = ["Heat", "HeatMap", "RowAgreement", "heat_of"]

_CELLS, _PEAKS = 200, 500


@dataclass(frozen=True, eq=False, slots=True)
class HeatMap:
    """A table of cells x peaks in the order of its own clustering."""

    values: NDArray[np.float32]
    """float32 (cells, peaks)."""
    cells: NDArray[np.int64]
    """Each row's place among the report's cells."""
    peaks: NDArray[np.int64]
    """Each column's place among the held-out peaks."""


@dataclass(frozen=True, slots=True)
class RowAgreement:
    """Share of neighbouring rows with the same label."""

    raw: float
    denoised: float
    chance: float
    """In rows in any order."""


@dataclass(frozen=True, slots=True)
class Heat:
    """The same cells and peaks, raw and denoised."""

    raw: HeatMap
    """0 and 1."""
    denoised: HeatMap
    """Linear scale, as z-scores of each peak over the cells shown."""
    agreement: RowAgreement | None
    """None without labels."""


def heat_of(found: Predictions | Missing, cells: SampledCells, *, seed: int) -> Heat | Missing:
    """Draw cells and peaks, and order them by clustering."""
    if isinstance(found, Missing):
        return Missing("Denoised accessibility is not shown: it needs an atlas.", found.command)
    _n_peaks, n_cells = found.labels.shape
    rows = sample_rows(n_cells, _CELLS, seed=seed)
    open_at = np.asarray(found.labels[:, rows].sum(axis=1)).ravel()
    columns = np.flatnonzero((open_at > 0) & (open_at < len(rows)))
    columns = columns[sample_rows(len(columns), _PEAKS, seed=seed)]
    if len(rows) < _LEAST or len(columns) < _LEAST:
        return Missing("Denoised accessibility is not shown: there are too few cells or peaks.")
    raw = found.labels[columns][:, rows].toarray().T.astype(np.float32)
    linear = cells.embedding[rows] @ found.h[columns].T
    maps = [_clustered(table, rows, columns) for table in (raw, _standardised(linear))]
    return Heat(maps[0], maps[1], _agreements(maps, cells))


_LEAST = 3


def _standardised(table: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = table - table.mean(axis=0)
    sd = centred.std(axis=0)
    return np.asarray(centred / np.where(sd > 0, sd, 1), np.float32)


def _clustered(
    table: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> HeatMap:
    by_row, by_column = _order(table), _order(table.T)
    return HeatMap(table[by_row][:, by_column], rows[by_row], columns[by_column])


def _order(table: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the leaves of a hierarchical clustering of rows (Ward), neighbours alike."""
    distances = pdist(table.astype(np.float64))
    tree = optimal_leaf_ordering(linkage(distances, "ward"), distances)
    return np.asarray(leaves_list(tree), np.int64)


def _agreements(maps: list[HeatMap], cells: SampledCells) -> RowAgreement | None:
    if cells.label is None:
        return None
    raw, denoised = (_same_beside(cells.label.codes[one.cells]) for one in maps)
    return RowAgreement(raw, denoised, _same_by_chance(cells.label.codes[maps[0].cells]))


def _same_by_chance(codes: NDArray[np.int64]) -> float:
    """Return the probability that two of the rows with a label have the same."""
    counts = np.bincount(codes[codes >= 0])
    n = int(counts.sum())
    return float((counts * (counts - 1)).sum() / (n * (n - 1))) if n > 1 else float("nan")


def _same_beside(codes: NDArray[np.int64]) -> float:
    """Return the share of neighbouring rows with the same label, of those that have one."""
    known = codes[codes >= 0]
    return float((known[1:] == known[:-1]).mean()) if len(known) > 1 else float("nan")
