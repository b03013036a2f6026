"""Sequence logos of mutagenesis: a row of letters for each group of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.report.page.charts.glyphs import placed
from atlasbasset.verbs.report.page.document import Csv, Figure
from atlasbasset.verbs.report.page.palette import BASES
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import label, plain_text

if TYPE_CHECKING:
    from atlasbasset.verbs.report.findings.logos import Logo
    from atlasbasset.verbs.report.page.document import Column

__all__ = ["logo_figure"]

_GAP = 0.08


def logo_figure(logo: Logo, number: int) -> Figure:
    """Draw one region; all groups have one scale."""
    n_groups = len(logo.groups)
    traces = [
        trace for group in range(n_groups) for trace in _letters(logo, group, show=group == 0)
    ]
    low, high = float(logo.importance.min()), float(logo.importance.max())
    room = 0.06 * ((high - low) or 1.0)
    bounds = [min(0.0, low) - room, max(0.0, high) + room]
    rows = {f"yaxis{g + 1 if g else ''}": _row_axis(g, n_groups, bounds) for g in range(n_groups)}
    last = logo.start + len(logo.codes)
    plot = new_plot(
        traces,
        xaxis=axis(
            f"position on {label(logo.chrom)}, bp",
            range=[logo.start - 0.6, last - 0.4],
            tickformat=",d",
            nticks=5,
            showgrid=False,
            zeroline=False,
            anchor=f"y{n_groups if n_groups > 1 else ''}",
        ),
        annotations=[_title(logo.groups[g], g, n_groups) for g in range(n_groups)],
        margin={"l": 56, "r": 10, "t": 8, "b": 48},
        **rows,
    )
    return Figure(
        name=f"logo-{number}",
        title=f"Bases that matter in {plain_text(logo.region)}",
        says=_says(logo),
        plot=plot,
        csv=_csv(logo, number),
        height_px=110 + 110 * n_groups,
        is_wide=True,
        is_long=True,
    )


def _says(logo: Logo) -> str:
    place, group = np.unravel_index(np.argmax(np.abs(logo.importance)), logo.importance.shape)
    return (
        "The height of a letter is how much accessibility (log-odds) depends on that base; runs of "
        f"tall letters are likely binding sites. The tallest is at {logo.start + int(place):,} in "
        f"{plain_text(logo.groups[group])}; the {len(logo.codes)} bp that matter most are shown."
    )


def _letters(logo: Logo, group: int, *, show: bool) -> list[Any]:
    heights = logo.importance[:, group].astype(np.float64)
    positions = logo.start + np.arange(len(logo.codes), dtype=np.float64)
    traces = []
    for code, (base, colour) in enumerate(BASES.items()):
        of_base = np.flatnonzero(logo.codes == code)
        if not of_base.size:
            continue
        x, y = placed(base, positions[of_base], heights[of_base])
        traces.append(
            graph_objects().Scatter(
                x=x,
                y=y.astype(np.float32),
                mode="lines",
                fill="toself",
                fillcolor=colour,
                line={"width": 0, "color": colour},
                name=base,
                legendgroup=base,
                showlegend=show,
                hoverinfo="skip",
                yaxis=f"y{group + 1 if group else ''}",
            )
        )
    return traces


def _row_axis(group: int, n_groups: int, bounds: list[float]) -> dict[str, Any]:
    top = 1 - group / n_groups
    return axis("", range=bounds, nticks=3, domain=[top - (1 - _GAP) / n_groups, top])


def _title(name: str, group: int, n_groups: int) -> dict[str, Any]:
    return {
        "text": label(name),
        "x": 0.005,
        "y": 1 - group / n_groups,
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "top",
        "showarrow": False,
    }


def _csv(logo: Logo, number: int) -> Csv:
    letters = np.array([*BASES, "N"])[logo.codes]
    positions = logo.start + np.arange(len(letters))
    columns: dict[str, Column] = {
        "chrom": [logo.chrom] * len(letters),
        "position": positions,
        "base": letters,
    }
    columns |= {name: logo.importance[:, g] for g, name in enumerate(logo.groups)}
    return Csv.of(f"logo-{number}.csv", columns)
