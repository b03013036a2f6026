"""Intercepts against sequencing depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.metrics import depth_correlation, sample_rows
from atlasbasset.verbs.report.page.document import Csv, Figure
from atlasbasset.verbs.report.page.palette import MODEL
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.verbs.report.findings.cells import SampledCells

__all__ = ["depth_figure"]

_MOST_POINTS = 1_000


def _ticks(depth: NDArray[np.float64]) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten around the values; few enough to be read."""
    low, high = np.log10(max(float(depth.min()), 1)), np.log10(max(float(depth.max()), 1))
    factors = (1, 2, 5) if high - low < _FEW_POWERS else (1,)
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    return [float(factor * 10**power) for power in powers for factor in factors]


_FEW_POWERS = 2


def depth_figure(cells: SampledCells, *, seed: int) -> Figure | None:
    """Draw intercepts against depth; None where depth is not known."""
    if cells.depth is None:
        return None
    rows = sample_rows(len(cells.rows), _MOST_POINTS, seed=seed)
    depth, intercept = cells.depth[rows], cells.intercept[rows]
    points = graph_objects().Scatter(
        x=depth,
        y=intercept,
        mode="markers",
        marker={"color": MODEL, "size": 5, "opacity": 0.5},
        hovertemplate="%{x:,.0f} open peaks: %{y:.3f}<extra></extra>",
    )
    r = depth_correlation(cells.intercept, cells.depth)
    drawn = f" {len(rows):,} cells are drawn." if len(rows) < len(cells.rows) else ""
    return Figure(
        name="depth",
        title="Intercept and depth",
        says=f"r = {figure(r)} with log10 of the open peaks. On a line, the intercept has taken "
        f"up depth, and the embedding is free of it.{drawn}",
        plot=new_plot(
            [points],
            xaxis=axis("open peaks of a cell", type="log", tickvals=_ticks(depth), tickformat=",d"),
            yaxis=axis("intercept"),
            showlegend=False,
        ),
        csv=Csv.of(
            "depth.csv",
            {
                "cell": [cells.names[row] for row in rows],
                "n_peaks": depth.astype(np.int64),
                "intercept": intercept,
            },
        ),
    )
