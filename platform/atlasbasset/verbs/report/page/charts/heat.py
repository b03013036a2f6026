"""Raw and denoised accessibility as heat maps, labels beside the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.report.page.document import Csv, Figure
from atlasbasset.verbs.report.page.palette import DIVERGING, category_style
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasbasset.verbs.report.findings.heat import Heat, HeatMap, RowAgreement
    from atlasbasset.verbs.report.findings.predictions import Predictions
    from atlasbasset.verbs.report.page.document import Column

__all__ = ["denoised_figure", "raw_figure"]

_BARE = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
_LIMIT = 2.5
"""z-scores beyond it have the last colour."""
_WHITE_TO_BLUE = ((0.0, "rgba(128,128,128,0.08)"), (1.0, "#4477AA"))


def raw_figure(heat: Heat, cells: SampledCells, found: Predictions) -> Figure:
    """Draw what was observed."""
    agreement = "" if heat.agreement is None else _beside(heat.agreement.raw)
    return Figure(
        name="raw",
        title="Raw: open or closed",
        says=f"{_sizes(heat.raw)}, as observed, clustered by cells and peaks.{agreement}",
        plot=_plot(heat.raw, cells.label, (0, 1), _WHITE_TO_BLUE),
        csv=_csv("raw.csv", heat.raw, cells, found),
        height_px=460,
    )


def denoised_figure(heat: Heat, cells: SampledCells, found: Predictions) -> Figure:
    """Draw what the model says of the same cells and peaks, which it was not trained on."""
    agreement = "" if heat.agreement is None else _compared(heat.agreement)
    return Figure(
        name="denoised",
        title="Denoised: predicted from sequence",
        says="The same cells and peaks as predicted, without depth, as z-scores of each peak, "
        f"clustered alike. The model was not trained on these peaks.{agreement}",
        plot=_plot(heat.denoised, cells.label, (-_LIMIT, _LIMIT), DIVERGING),
        csv=_csv("denoised.csv", heat.denoised, cells, found),
        height_px=460,
    )


def _sizes(table: HeatMap) -> str:
    n_cells, n_peaks = table.values.shape
    return f"{n_cells} cells x {n_peaks} held-out peaks drawn at random"


def _beside(share: float) -> str:
    return f" Of neighbouring rows {100 * share:.0f} % have the same label."


def _compared(found: RowAgreement) -> str:
    """Say whether denoising brought cells of a label together."""
    change = found.denoised - found.raw
    meaning = (
        "denoising brings cells of a label together"
        if change > _NOTABLE
        else "denoising mixes labels that the raw counts keep apart"
        if change < -_NOTABLE
        else "as in the raw counts"
    )
    return f"{_beside(found.denoised)[:-1]} ({100 * found.chance:.0f} % by chance): {meaning}."


_NOTABLE = 0.05


def _plot(
    table: HeatMap,
    labels: CellLabels | None,
    limits: tuple[float, float],
    colours: str | Sequence[tuple[float, str]],
) -> Any:
    is_raw = limits[0] == 0
    heat = graph_objects().Heatmap(
        z=table.values.astype(np.uint8) if is_raw else table.values,
        colorscale=colours,
        zmin=limits[0],
        zmax=limits[1],
        showscale=not is_raw,
        colorbar={"thickness": 10, "title": {"text": "z"}, "len": 0.5},
        hovertemplate="cell %{y}, peak %{x}: %{z:.2f}<extra></extra>",
    )
    traces = [heat] if labels is None else [heat, *_strip(table, labels)]
    return new_plot(
        traces,
        xaxis=axis("peaks", **_BARE, domain=[0.06, 1]),
        xaxis2={
            **_BARE,
            "domain": [0, 0.045],
            "fixedrange": True,
        },
        yaxis=axis("cells", **_BARE, anchor="x2"),
        margin={"l": 34, "r": 8, "t": 10, "b": 34},
    )


def _strip(table: HeatMap, labels: CellLabels) -> list[Any]:
    """Return a column of colours, the rows' labels, and an entry of each in the legend."""
    go = graph_objects()
    codes = labels.codes[table.cells]
    names = [label(labels.names[code]) if code >= 0 else "no label" for code in codes]
    present = sorted(set(codes.tolist()))
    place = {code: i for i, code in enumerate(present)}
    n = max(len(present) - 1, 1)
    colours = [(place[code] / n, category_style(code)[0]) for code in present]
    scale = colours if len(colours) > 1 else [(0, colours[0][1]), (1, colours[0][1])]
    strip = go.Heatmap(
        z=np.array([[place[code]] for code in codes], np.int16),
        text=[[name] for name in names],
        colorscale=scale,
        zmin=0,
        zmax=n,
        showscale=False,
        xaxis="x2",
        hovertemplate="%{text}<extra></extra>",
    )
    keys = [
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=label(labels.names[code]) if code >= 0 else "no label",
            marker={"color": category_style(code)[0], "symbol": "square", "size": 10},
        )
        for code in present[:_MOST_KEYS]
    ]
    return [strip, *keys]


_MOST_KEYS = 12


def _csv(file: str, table: HeatMap, cells: SampledCells, found: Predictions) -> Csv:
    columns: dict[str, Column] = {"cell": [cells.names[row] for row in table.cells]}
    if cells.label is not None:
        values = cells.label.values()
        columns["label"] = [values[row] for row in table.cells]
    for place, peak in enumerate(table.peaks):
        columns[found.names[peak]] = table.values[:, place]
    return Csv.of(file, columns)
