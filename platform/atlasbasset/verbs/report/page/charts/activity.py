"""Figures of TF activity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.verbs.report.page.document import Csv, Figure, Table
from atlasbasset.verbs.report.page.palette import DIVERGING
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import label, plain_text

if TYPE_CHECKING:
    from atlasbasset.verbs.report.findings.activity import TfActivity

__all__ = ["activity_figure", "top_table"]


def top_table(found: TfActivity) -> Table:
    """List the TFs that set each group apart."""
    rows = tuple(
        (
            group,
            ", ".join(f"{found.names[m]} {found.difference[g, m]:+.3f}" for m in ranked) or "none",
        )
        for g, (group, ranked) in enumerate(zip(found.groups, found.top, strict=True))
    )
    return Table(
        "TFs that are most active in each group",
        (plain_text(found.key), "TF and difference of log-odds from the mean of groups"),
        rows,
        "Ranked by raw activity: what one site adds to the log-odds of being open.",
    )


def activity_figure(found: TfActivity) -> Figure:
    """Draw the activity of the top TFs in every group."""
    columns = list(found.shown)
    values = found.difference[:, columns]
    limit = float(np.abs(values).max()) or 1.0
    heat = graph_objects().Heatmap(
        z=values.T.astype(np.float32),
        x=[label(group) for group in found.groups],
        y=[label(found.names[motif]) for motif in columns],
        colorscale=DIVERGING,
        zmin=-limit,
        zmax=limit,
        colorbar={"title": {"text": "difference"}, "thickness": 12},
        hovertemplate="%{y} in %{x}: %{z:+.3f}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    plot = new_plot(
        [heat],
        xaxis=axis(label(found.key), type="category", showgrid=False),
        yaxis=axis("", autorange="reversed", type="category", showgrid=False),
    )
    table = {"tf": [found.names[motif] for motif in range(len(found.names))]}
    table |= {str(group): found.difference[g] for g, group in enumerate(found.groups)}
    return Figure(
        name="tf-activity",
        title="TF activity of each group",
        says=_says(found),
        plot=plot,
        csv=Csv.of("tf-activity.csv", table),
        height_px=190 + 20 * len(columns),
    )


def _says(found: TfActivity) -> str:
    group, motif = np.unravel_index(np.argmax(found.difference), found.difference.shape)
    return (
        f"Orange: more active than in the mean of groups; purple: less. The largest difference is "
        f"{found.names[motif]} in {found.groups[group]} ({found.difference[group, motif]:+.3f} of "
        f"log-odds). Motifs of one family look alike to the model. The CSV has all "
        f"{len(found.names):,} motifs."
    )
