"""Differential accessibility: the labels of every peak against the groups.

Source: docs/differential.md, "The test of a peak".

A unit is a run of peaks in one contrast. It reads the peaks' counts of open cells and writes its
tests into an array that all contrasts share, each beginning at a whole unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.verbs.differential.binomial import fit_binomial, penalised_test
from atlasbasset.verbs.differential.design import design_of
from atlasbasset.verbs.shared.open_counts import OpenCounts
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.differential.design import CellBins, Contrast
    from atlasstore.files.table_file import ColumnType
    from atlasstore.resume.units import Receipt, Unit

__all__ = [
    "PEAK_COLUMNS",
    "ComparePeaks",
    "FindTypical",
    "PeakComparison",
    "comparison_units",
    "create_compared",
    "q_values",
    "read_compared",
]

PEAK_COLUMNS: dict[str, ColumnType] = {
    "peak": "text",
    "chrom": "text",
    "start": "int64",
    "end": "int64",
    "group": "text",
    "reference": "text",
    "open_share": "float64",
    "open_share_reference": "float64",
    "effect": "float64",
    "standard_error": "float64",
    "p": "float64",
    "q": "float64",
    "model_effect": "float64",
}
_READ_PEAKS = 4096
_UNIT_PEAKS = 1024
_TYPICAL_PEAKS = 2048
"""Peaks whose median effect is that of a peak that does not differ."""
_ARRAY = "tests"
_TESTED = ("open_share", "open_share_reference", "effect", "standard_error", "p")


@dataclass(frozen=True, eq=False)
class PeakComparison:
    """What is compared on which counts."""

    counts_url: str
    """What `CountOpen` filled, a set for each bin."""
    bins: CellBins
    contrasts: Sequence[Contrast]
    covariate_names: Sequence[str]
    min_cells: int
    """Peaks that are open, or closed, in fewer of the compared cells are not tested."""

    @cached_property
    def counts(self) -> OpenCounts:
        """Open cells of each bin."""
        return OpenCounts(self.counts_url)

    def design(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the bins that a contrast compares and their covariates, as `design_of`."""
        bins, contrast = self.bins, self.contrasts[number]
        return design_of(contrast, bins.codes, bins.covariates, bins.depth, self.covariate_names)


@dataclass(frozen=True, eq=False)
class FindTypical:
    """Work: the median effect of peaks of the more open half, evenly taken over the genome.

    A unit is a contrast. Peaks that are rarely open say little, and the median of such estimates is
    not that of what they estimate.
    """

    given: PeakComparison

    def __call__(self, unit: Unit) -> Receipt:
        """Return the log odds ratio of a peak that does not differ."""
        rows, design = self.given.design(unit["start"])
        n_cells = self.given.bins.n_cells[rows].astype(np.float64)
        chosen = self._chosen(rows, n_cells.sum())
        if not chosen.size:
            return {"typical": 0.0}
        counts = self.given.counts
        parts = [
            counts.rows(start, stop)[chosen[(chosen >= start) & (chosen < stop)] - start]
            for start, stop in runs(counts.n_peaks, _READ_PEAKS)
        ]
        n_open = np.concatenate(parts)[:, rows].astype(np.float64)
        return {"typical": float(np.median(fit_binomial(n_open, n_cells, design).beta[:, -1]))}

    def _chosen(self, rows: NDArray[np.int64], n_cells: float) -> NDArray[np.int64]:
        counts, least = self.given.counts, self.given.min_cells
        totals = np.concatenate(
            [
                counts.rows(start, stop)[:, rows].sum(axis=1, dtype=np.int64)
                for start, stop in runs(counts.n_peaks, _READ_PEAKS)
            ]
        )
        tested = np.flatnonzero((totals >= least) & (totals <= n_cells - least))
        if not tested.size:
            return tested
        open_half = tested[totals[tested] >= np.median(totals[tested])]
        at = np.linspace(0, len(open_half) - 1, _TYPICAL_PEAKS).astype(int)
        return np.unique(open_half[at])


def _padded(n_peaks: int) -> int:
    """Return the rows of a contrast in the array of tests."""
    return -(-n_peaks // _UNIT_PEAKS) * _UNIT_PEAKS


def comparison_units(n_contrasts: int, n_peaks: int) -> list[Unit]:
    """Return the units of `ComparePeaks`."""
    return [
        {"contrast": number, "start": start, "stop": stop}
        for number in range(n_contrasts)
        for start, stop in runs(n_peaks, _UNIT_PEAKS)
    ]


def create_compared(url: str, n_contrasts: int, n_peaks: int) -> None:
    """Create the array that `ComparePeaks` fills."""
    arrays.create_array(
        scratch_group(url),
        _ARRAY,
        shape=(n_contrasts * _padded(n_peaks), len(_TESTED)),
        dtype=np.float64,
        chunk_rows=_UNIT_PEAKS,
        fill_value=float("nan"),
        axes=("test", "value"),
    )


@dataclass(frozen=True, eq=False)
class ComparePeaks:
    """Work: test a run of peaks in one contrast."""

    given: PeakComparison
    typical: Sequence[float]
    """Of each contrast: the effect of a peak that does not differ."""
    url: str
    """Where `create_compared` made the array."""

    def __call__(self, unit: Unit) -> Receipt:
        """Test and write peaks [start, stop) of a contrast."""
        number, start, stop = unit["contrast"], unit["start"], unit["stop"]
        rows, design = self.given.design(number)
        n_open = self.given.counts.rows(start, stop)[:, rows].astype(np.float64)
        found = np.full((_UNIT_PEAKS, len(_TESTED)), np.nan)
        found[: stop - start] = self._tested(n_open, rows, design, self.typical[number])
        place = number * _padded(self.given.counts.n_peaks) + start
        arrays.write_pieces(arrays.open_member(self.url, _ARRAY, mode="r+"), place, found)
        return {}

    def _tested(
        self,
        n_open: NDArray[np.float64],
        rows: NDArray[np.int64],
        design: NDArray[np.float64],
        typical: float,
    ) -> NDArray[np.float64]:
        """Return shares, effect, error and p of peaks (P, 5); the last three NaN without a test."""
        n_cells = self.given.bins.n_cells[rows].astype(np.float64)
        found = np.full((len(n_open), len(_TESTED)), np.nan)
        found[:, 0], found[:, 1] = _shares(n_open, n_cells, design[:, -1] == 1)
        total, least = n_open.sum(axis=1), self.given.min_cells
        tested = (total >= least) & (total <= n_cells.sum() - least)
        if tested.any():
            test = penalised_test(n_open[tested], n_cells, design, null=typical)
            values = (test.effect - typical, test.standard_error, test.p)
            found[tested, 2:] = np.stack(values, axis=1)
        return found


def _shares(
    n_open: NDArray[np.float64], n_cells: NDArray[np.float64], is_group: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of open cells in the group and in the reference."""
    in_group = n_open[:, is_group].sum(axis=1) / n_cells[is_group].sum()
    return in_group, n_open[:, ~is_group].sum(axis=1) / n_cells[~is_group].sum()


def read_compared(url: str, number: int, n_peaks: int) -> pd.DataFrame:
    """Read the tests of a contrast.

    Returns
    -------
    pandas.DataFrame
        A row per peak: ``open_share``, ``open_share_reference``, ``effect``, ``standard_error``,
        ``p``, ``q``; the last four NaN for peaks that are not tested. Effects are log odds ratios
        less that of a typical peak.
    """
    first = number * _padded(n_peaks)
    stored = arrays.open_member(url, _ARRAY)
    found = arrays.read_array(stored, first, first + n_peaks, url=url)
    table = pd.DataFrame(found, columns=list(_TESTED))
    return table.assign(q=q_values(found[:, -1]))


def q_values(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return false discovery rates (Benjamini and Hochberg 1995); NaN stays NaN."""
    found = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        found[known] = false_discovery_control(p[known])
    return found
