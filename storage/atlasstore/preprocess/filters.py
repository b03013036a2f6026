"""Which cells and peaks an atlas keeps.

First cells with too few open peaks are removed (counting all peaks), then peaks that are open in
too small a share of the remaining cells, then cells without an open peak. Each threshold is applied
once. This takes one pass over the counts, in which each cell's open peaks and each peak's cells are
counted, and, only if a peak is removed, a second one for the cells' open peaks among those kept.
`preprocess` makes the second pass over its scratch files; a dry run reads the inputs again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from atlasstore.events import Subscriber
    from atlasstore.inputs.source import CountsSource

__all__ = ["FilterResult", "FilterSpec", "choose", "choose_cells", "filter_counts"]


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """What a cell and a peak must have to be kept."""

    min_cell_fraction: float = 0.01
    """A peak is kept when it is open in at least this share of the cells, 0..1."""
    min_peaks_per_cell: int = 1
    """A cell is kept when at least this many peaks are open in it, 0 or more."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_cell_fraction <= 1:
            raise UserInputError(
                f"The minimal share of cells is {self.min_cell_fraction}, but it must be in 0..1; "
                "0.01 keeps peaks that are open in 1 % of the cells."
            )
        if self.min_peaks_per_cell < 0:
            raise UserInputError(
                f"The minimal number of peaks in a cell is {self.min_peaks_per_cell}, but it must "
                "be 0 or more."
            )

    def min_cells(self, n_cells: int) -> int:
        """Return in how many of `n_cells` cells a peak must be open."""
        return math.ceil(self.min_cell_fraction * n_cells - 1e-9)


@dataclass(frozen=True, slots=True)
class FilterResult:
    """What is kept, and what each filter removed."""

    spec: FilterSpec
    """What was asked for."""
    cells: tuple[NDArray[np.bool_], ...]
    """Of each source: which of its cells are kept."""
    peaks: NDArray[np.bool_]
    """Which peaks are kept."""
    depth: NDArray[np.int64]
    """Of each kept cell, in order: how many kept peaks are open in it."""
    n_cells_few_peaks: int
    """Cells removed by `min_peaks_per_cell`."""
    n_peaks_rare: int
    """Peaks removed by `min_cell_fraction`."""
    n_cells_emptied: int
    """Cells removed because no kept peak is open in them."""

    @property
    def n_cells_in(self) -> int:
        """Cells of all sources."""
        return sum(len(mask) for mask in self.cells)

    @property
    def n_cells(self) -> int:
        """Cells kept."""
        return len(self.depth)

    @property
    def n_peaks(self) -> int:
        """Peaks kept."""
        return int(self.peaks.sum())

    @property
    def n_positives(self) -> int:
        """Pairs of a kept peak and a kept cell in which the peak is open."""
        return int(self.depth.sum())

    def removed(self) -> list[str]:
        """Return one sentence for each filter that removed something."""
        n_left = self.n_cells_in - self.n_cells_few_peaks
        few, rare = self.spec.min_peaks_per_cell, self.spec.min_cells(n_left)
        too_few = "no open peak" if few == 1 else f"fewer than {few} open peaks"
        too_rare = "open in no cell" if rare == 1 else f"open in fewer than {rare} cells"
        filters = (
            (self.n_cells_few_peaks, self.n_cells_in, "cells", too_few),
            (self.n_peaks_rare, len(self.peaks), "peaks", too_rare),
            (self.n_cells_emptied, n_left, "cells", "no peak that was kept is open in them"),
        )
        return [
            f"{count:,} of {total:,} {unit} {'was' if count == 1 else 'were'} removed: {why}."
            for count, total, unit, why in filters
            if count
        ]


def choose(
    peaks_of_cell: NDArray[np.int64],
    cells_with_peak: NDArray[np.int64],
    depth_among: Callable[[NDArray[np.bool_]], NDArray[np.int64]],
    spec: FilterSpec,
    *,
    cells_of_source: Sequence[int],
) -> FilterResult:
    """Decide what to keep.

    Parameters
    ----------
    peaks_of_cell
        Open peaks of each cell, int64, shape (cells of all sources,).
    cells_with_peak
        In how many cells with enough open peaks each peak is open, int64, shape (n_peaks,).
    depth_among
        Peaks kept, bool -> each cell's open peaks among them; called only when a peak goes.
    spec
        The thresholds.
    cells_of_source
        Number of cells of each source.

    Raises
    ------
    UserInputError
        When nothing would be left; it says what each filter removed.
    """
    enough = peaks_of_cell >= spec.min_peaks_per_cell
    peaks = cells_with_peak >= spec.min_cells(int(enough.sum()))
    depth = peaks_of_cell if peaks.all() else depth_among(peaks)
    return _result(spec, enough, peaks, depth, cells_of_source)


def choose_cells(
    peaks_of_cell: NDArray[np.int64],
    peaks: NDArray[np.bool_],
    depth: NDArray[np.int64],
    spec: FilterSpec,
    *,
    cells_of_source: Sequence[int],
) -> FilterResult:
    """Decide which cells to keep where the peaks are fixed; see `choose`.

    `depth` is each cell's open peaks among `peaks`. No peak counts as rare.
    """
    enough = peaks_of_cell >= spec.min_peaks_per_cell
    found = _result(spec, enough, peaks, depth, cells_of_source)
    return replace(found, n_peaks_rare=0)


def _result(
    spec: FilterSpec,
    enough: NDArray[np.bool_],
    peaks: NDArray[np.bool_],
    depth: NDArray[np.int64],
    cells_of_source: Sequence[int],
) -> FilterResult:
    kept = enough & (depth > 0)
    result = FilterResult(
        spec=spec,
        cells=tuple(np.split(kept, np.cumsum(cells_of_source)[:-1])),
        peaks=peaks,
        depth=depth[kept],
        n_cells_few_peaks=int((~enough).sum()),
        n_peaks_rare=int((~peaks).sum()),
        n_cells_emptied=int((enough & (depth == 0)).sum()),
    )
    _refuse_empty(result)
    return result


def filter_counts(
    sources: Sequence[CountsSource],
    spec: FilterSpec,
    *,
    positives_per_read: int = 2_000_000,
    on_event: Subscriber,
) -> FilterResult:
    """Decide what to keep of `sources`, which share their peaks, without keeping what was read.

    Raises
    ------
    UserInputError
        As `choose`.
    CountsError
        From a source.
    """
    from atlasstore.preprocess._dry_run_counts import (  # compiled code: only when needed
        count_open,
        depth_among,
    )

    size = positives_per_read
    totals = count_open(
        sources, spec.min_peaks_per_cell, positives_per_read=size, on_event=on_event
    )
    return choose(
        *totals,
        lambda kept: depth_among(sources, kept, positives_per_read=size, on_event=on_event),
        spec,
        cells_of_source=[len(source.obs) for source in sources],
    )


def _refuse_empty(result: FilterResult) -> None:
    if result.n_cells and result.n_peaks:
        return
    reasons = " ".join(result.removed()) or "The input has no cells or no peaks."
    raise UserInputError(
        f"Nothing is left after filtering. {reasons} Lower the thresholds (min_peaks_per_cell, "
        "min_cell_fraction), or check that peaks and counts belong together."
    )
