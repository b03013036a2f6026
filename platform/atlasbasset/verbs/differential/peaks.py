"""Differential accessibility: the labels of every peak against the groups.

Source: docs/differential.md, "The test of a peak".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from atlasbasset.verbs.differential.binomial import fit_binomial, penalised_test
from atlasbasset.verbs.differential.design import design_of
from atlasbasset.verbs.shared.open_counts import open_counts
from atlasstore.events import Progress
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.verbs.differential.design import CellBins, Contrast
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.files.table_file import ColumnType

__all__ = ["PEAK_COLUMNS", "count_open", "q_values", "test_peaks"]

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
_FIT_PEAKS = 1024
_TYPICAL_PEAKS = 2048
"""Peaks whose median effect is that of a peak that does not differ."""


def count_open(
    atlas: Atlas, bins: CellBins, path: Path, *, on_event: Subscriber
) -> NDArray[np.uint32]:
    """Count the open cells of each bin at each peak, uint32 (P, B), in a file; labels stream."""
    counts = np.memmap(path, np.uint32, mode="w+", shape=(atlas.n_peaks, len(bins)))
    for start, stop, found in open_counts(atlas, bins.of_cell, len(bins), on_event=on_event):
        counts[start:stop] = found
    return counts


def test_peaks(
    contrast: Contrast,
    counts: NDArray[np.uint32],
    bins: CellBins,
    covariate_names: Sequence[str],
    *,
    min_cells: int,
    on_event: Subscriber,
) -> pd.DataFrame:
    """Test every peak that is open in `min_cells` or more of the cells, and closed in as many.

    Returns
    -------
    pandas.DataFrame
        A row per peak: ``open_share``, ``open_share_reference``, ``effect``, ``standard_error``,
        ``p``, ``q``; the last four NaN for peaks that are not tested. Effects are log odds ratios
        less that of a typical peak, which stands in ``attrs["typical"]``.
    """
    rows, design = design_of(contrast, bins.codes, bins.covariates, bins.depth, covariate_names)
    n_cells = bins.n_cells[rows].astype(np.float64)
    is_group = design[:, -1] == 1
    found = np.full((4, len(counts)), np.nan)
    shares = np.empty((2, len(counts)))
    typical = _typical(counts, rows, n_cells, design, min_cells)
    for start, stop in runs(len(counts), _FIT_PEAKS):
        n_open = counts[start:stop, rows].astype(np.float64)
        shares[:, start:stop] = _shares(n_open, n_cells, is_group)
        tested = _is_tested(n_open, n_cells, min_cells)
        if tested.any():
            test = penalised_test(n_open[tested], n_cells, design, null=typical)
            found[:3, start:stop][:, tested] = test.effect - typical, test.standard_error, test.p
        stage = f"testing {contrast.group} against {contrast.reference}"
        on_event(Progress(stage, stop, len(counts), "peaks"))
    found[3] = q_values(found[2])
    names = ("open_share", "open_share_reference", "effect", "standard_error", "p", "q")
    table = pd.DataFrame(dict(zip(names, [*shares, *found], strict=True)))
    table.attrs["typical"] = typical
    return table


def q_values(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return false discovery rates (Benjamini and Hochberg 1995); NaN stays NaN."""
    found = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        found[known] = false_discovery_control(p[known])
    return found


def _typical(
    counts: NDArray[np.uint32],
    rows: NDArray[np.int64],
    n_cells: NDArray[np.float64],
    design: NDArray[np.float64],
    min_cells: int,
) -> float:
    """Return the median effect of peaks of the more open half, evenly taken over the genome.

    Peaks that are rarely open say little, and the median of such estimates is not that of what
    they estimate.
    """
    totals = np.concatenate(
        [
            counts[start:stop, rows].sum(axis=1, dtype=np.int64)
            for start, stop in runs(len(counts), _READ_PEAKS)
        ]
    )
    tested = np.flatnonzero((totals >= min_cells) & (totals <= n_cells.sum() - min_cells))
    if not tested.size:
        return 0.0
    open_half = tested[totals[tested] >= np.median(totals[tested])]
    chosen = open_half[np.linspace(0, len(open_half) - 1, _TYPICAL_PEAKS).astype(int)]
    n_open = counts[np.unique(chosen)][:, rows].astype(np.float64)
    return float(np.median(fit_binomial(n_open, n_cells, design).beta[:, -1]))


def _is_tested(
    n_open: NDArray[np.float64], n_cells: NDArray[np.float64], min_cells: int
) -> NDArray[np.bool_]:
    total = n_open.sum(axis=1)
    return np.asarray((total >= min_cells) & (total <= n_cells.sum() - min_cells))


def _shares(
    n_open: NDArray[np.float64], n_cells: NDArray[np.float64], is_group: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the shares of open cells in the group and in the reference."""
    in_group = n_open[:, is_group].sum(axis=1) / n_cells[is_group].sum()
    return in_group, n_open[:, ~is_group].sum(axis=1) / n_cells[~is_group].sum()
