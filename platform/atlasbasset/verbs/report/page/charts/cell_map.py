"""The map of the cells: one set of points for each way to colour them, one shown at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.page.document import Csv, Figure
from atlasbasset.verbs.report.page.palette import DIVERGING, SEQUENTIAL, category_style
from atlasbasset.verbs.report.page.plot import graph_objects, new_plot
from atlasbasset.verbs.report.page.text import label, plain_text
from atlasstore.text_units import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.verbs.report.findings.activity import TfActivity
    from atlasbasset.verbs.report.findings.findings import Findings
    from atlasbasset.verbs.report.page.document import Column

__all__ = ["map_figure"]

_BARE = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
"""Of axes: numbers of a UMAP mean nothing."""
_MOST_CATEGORIES = 114
"""Colours times symbols: of more, the rarest share grey."""


@dataclass(frozen=True, eq=False, slots=True)
class _Colouring:
    """One way to colour the cells."""

    name: str
    says: str
    traces: list[Any]


def map_figure(found: Findings) -> Figure:
    """Draw the cells in the plane, coloured by labels, batches, depth and TF activities."""
    colourings = _colourings(found)
    for colouring in colourings[1:]:
        for trace in colouring.traces:
            trace.visible = False
    plot = new_plot(
        [trace for colouring in colourings for trace in colouring.traces],
        xaxis=_BARE,
        yaxis=_BARE,
        legend={"itemsizing": "constant", "orientation": "h", "y": -0.02, "yanchor": "top"},
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        dragmode="pan",
    )
    return Figure(
        name="cell-map",
        title="The cells by their embedding (UMAP)",
        says=_says(found),
        plot=plot,
        csv=Csv.of("cells.csv", _columns(found)),
        height_px=640,
        is_wide=True,
        more={
            "names": [plain_text(name) for name in found.cells.names],
            "colourings": [
                {"name": one.name, "says": one.says, "traces": len(one.traces)}
                for one in colourings
            ],
        },
    )


def _says(found: Findings) -> str:
    cells = found.cells
    shown = (
        f"{count(len(cells.rows))} of {count(cells.n_all)} cells, drawn with seed "
        f"{found.options.seed}"
        if cells.is_sample
        else f"All {count(cells.n_all)} cells"
    )
    return (
        f"{shown}. Neighbours have similar embeddings; distances between far groups mean little. "
        "Good embeddings separate labels, and mix batches and depths."
    )


def _colourings(found: Findings) -> list[_Colouring]:
    cells, plane = found.cells, found.plane
    by_category = (
        (cells.label, "Cells of one label should lie together."),
        (cells.batch, "Batches should be mixed wherever they have the same cell types."),
        (found.clusters, "Leiden clusters of the embedding, resolution 1."),
    )
    made = [
        _Colouring(plain_text(labels.key), says, _categories(plane, labels))
        for labels, says in by_category
        if labels is not None
    ]
    if cells.depth is not None:
        says = "Depth should not form groups or gradients of its own."
        made.append(
            _Colouring(
                "depth",
                says,
                [_values(plane, np.log10(np.maximum(cells.depth, 1)), "log10 open peaks")],
            )
        )
    says = "The intercept follows depth."
    made.append(_Colouring("intercept", says, [_values(plane, cells.intercept, "intercept")]))
    return [*made, *_activities(plane, found.activity)]


def _activities(plane: NDArray[np.float32], activity: TfActivity | Missing) -> list[_Colouring]:
    if isinstance(activity, Missing):
        return []
    says = "z-scores: in which cells the motif is most active; compare TFs by the table below."
    return [
        _Colouring(
            f"activity of {plain_text(activity.names[motif])}",
            says,
            [_values(plane, activity.z[:, place], "z-score", diverging=True)],
        )
        for place, motif in enumerate(activity.chosen)
    ]


def _categories(plane: NDArray[np.float32], labels: CellLabels) -> list[Any]:
    """Return one set of points a label, those without a label first, below the others."""
    sizes = np.bincount(labels.codes[labels.codes >= 0], minlength=len(labels.names))
    kept = np.sort(np.argsort(-sizes, kind="stable")[:_MOST_CATEGORIES])
    places = np.full(len(labels.names) + 1, -1)
    places[kept] = np.arange(len(kept))
    of_cells = places[labels.codes]
    names = [labels.names[code] for code in kept]
    rest = "no label" if len(kept) == len(labels.names) else "others"
    groups = [(-1, rest), *enumerate(names)]
    return [
        _points(plane, np.flatnonzero(of_cells == place), name, place)
        for place, name in groups
        if (of_cells == place).any()
    ]


def _points(plane: NDArray[np.float32], rows: NDArray[np.int64], name: str, place: int) -> Any:
    colour, symbol = category_style(place)
    return graph_objects().Scattergl(
        x=plane[rows, 0],
        y=plane[rows, 1],
        mode="markers",
        name=f"{label(name)} ({len(rows):,})",
        marker={"color": colour, "symbol": symbol, "size": _size(len(plane)), "opacity": 0.75},
        customdata=rows.astype(np.int32),
        hovertemplate=label(name) + "<extra></extra>",
    )


def _values(
    plane: NDArray[np.float32],
    values: NDArray[Any],
    title: str,
    *,
    diverging: bool = False,
) -> Any:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    if diverging:
        high = max(abs(low), abs(high))
        low = -high
    marker = {
        "color": values.astype(np.float32),
        "colorscale": DIVERGING if diverging else SEQUENTIAL,
        "cmin": float(low),
        "cmax": float(high),
        "size": _size(len(plane)),
        "opacity": 0.85,
        "colorbar": {
            "title": {"text": title, "side": "top"},
            "orientation": "h",
            "y": -0.04,
            "yanchor": "top",
            "thickness": 12,
            "len": 0.6,
        },
    }
    return graph_objects().Scattergl(
        x=plane[:, 0],
        y=plane[:, 1],
        mode="markers",
        marker=marker,
        showlegend=False,
        customdata=np.arange(len(plane), dtype=np.int32),
        hovertemplate="%{marker.color:.3f}<extra></extra>",
    )


def _size(n_cells: int) -> float:
    return float(np.clip(260 / np.sqrt(max(n_cells, 1)), 2.5, 9))


def _columns(found: Findings) -> dict[str, Column]:
    cells = found.cells
    columns: dict[str, Column] = {
        "cell": cells.names,
        "umap_1": found.plane[:, 0],
        "umap_2": found.plane[:, 1],
        "intercept": cells.intercept,
    }
    categories = {"label": cells.label, "batch": cells.batch, "cluster": found.clusters}
    for name, labels in categories.items():
        if labels is not None:
            columns[name] = labels.values()
    if cells.depth is not None:
        columns["n_peaks"] = cells.depth
    if not isinstance(found.activity, Missing):
        for place, motif in enumerate(found.activity.chosen):
            columns[f"z_{plain_text(found.activity.names[motif])}"] = found.activity.z[:, place]
    return columns
