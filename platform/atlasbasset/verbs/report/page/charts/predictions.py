"""Figures of predictions on held-out peaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.report.page.document import Csv, Figure, Table
from atlasbasset.verbs.report.page.palette import MODEL, REFERENCE, SERIES
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import figure, label, plain_text
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasbasset.verbs.report.findings.predictions import Predictions
    from atlasbasset.verbs.report.given import Evaluated
    from atlasbasset.verbs.report.page.document import Column

__all__ = ["baselines_of", "cell_auroc_figure", "evaluations_table", "peak_auroc_figure"]

_BINS = 48
_REFERENCE = "mean of other cells of the label"


def cell_auroc_figure(
    found: Predictions, cells: SampledCells, evaluations: Sequence[Evaluated]
) -> Figure:
    """Draw the distribution of auROC over cells, and the means of baselines."""
    values = {"model": found.quality.auroc_per_cell}
    columns: dict[str, Column] = {"cell": cells.names, "auroc": values["model"]}
    if found.reference is not None:
        values[_REFERENCE] = columns["auroc_label_mean"] = found.reference.auroc_per_cell
    return Figure(
        name="auroc-per-cell",
        title="auROC per cell",
        says=_says(found, values, "cell", found.certainty.auroc_per_cell),
        plot=_distributions(values, "cells", _means(evaluations, "auroc_per_cell")),
        csv=Csv.of("auroc-per-cell.csv", columns),
    )


def peak_auroc_figure(found: Predictions, evaluations: Sequence[Evaluated]) -> Figure:
    """Draw the distribution of auROC over peaks, and the means of baselines."""
    values = {"model": found.quality.auroc_per_peak}
    columns: dict[str, Column] = {"peak": found.names, "auroc": values["model"]}
    if found.reference is not None:
        values[_REFERENCE] = columns["auroc_label_mean"] = found.reference.auroc_per_peak
    return Figure(
        name="auroc-per-peak",
        title="auROC per peak",
        says=_says(found, values, "peak", found.certainty.auroc_per_peak),
        plot=_distributions(values, "peaks", _means(evaluations, "auroc_per_peak")),
        csv=Csv.of("auroc-per-peak.csv", columns),
    )


def _says(
    found: Predictions,
    values: Mapping[str, NDArray[np.float64]],
    unit: str,
    interval: tuple[float, float] | None,
) -> str:
    means = {
        name: float(np.nanmean(v)) if np.isfinite(v).any() else np.nan for name, v in values.items()
    }
    known = "" if interval is None else f", 95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
    text = f"The mean over {unit}s is {figure(means['model'])}{known} (chance is 0.5)."
    if _REFERENCE in means:
        text += (
            f" The mean of other cells with the same label, which has seen the answers, reaches "
            f"{figure(means[_REFERENCE])}: what the cell type alone can tell."
        )
    n_left_out = int(np.isnan(values["model"]).sum())
    if n_left_out:
        text += f" {count(n_left_out)} {unit}s with one class of label are left out."
    if len(found.rows) < found.n_split:
        text += f" Of {count(found.n_split)} peaks {count(len(found.rows))} were drawn."
    return text


def _means(evaluations: Sequence[Evaluated], name: str) -> list[tuple[str, float]]:
    """Return name and mean of each other predictor that has it, at most as many as symbols.

    The model itself is a distribution already; its cells on fewer reads are in the table.
    """
    rows = [row for one in evaluations for row in baselines_of(one)]
    known = [(which, row[name]) for which, row in rows if isinstance(row.get(name), int | float)]
    others = [one for one in known if one[0] != "model" and not one[0].endswith("of reads")]
    return others[: len(_MEAN_SYMBOLS)]


def _distributions(
    values: Mapping[str, NDArray[np.float64]], unit: str, means: Sequence[tuple[str, float]]
) -> Any:
    """Draw each distribution as steps with a line at its mean, and means alone as points."""
    known = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    low = min(0.4, float(known.min())) if known.size else 0.4
    edges = np.linspace(low, 1, _BINS + 1)
    styles = ((MODEL, "solid"), (REFERENCE, "dash"))
    traces, shapes = [], [_vertical(0.5, "#888888", "dot")]
    for (name, v), (colour, dash) in zip(values.items(), styles, strict=False):
        finite = v[np.isfinite(v)]
        if finite.size:
            traces.append(_steps(finite, edges, name, colour, dash))
            shapes.append(_vertical(float(finite.mean()), colour, dash))
    traces += [_mean_point(*one, place) for place, one in enumerate(means)]
    return new_plot(
        traces,
        xaxis=axis("auROC (dotted: chance)", range=[low, 1]),
        yaxis=axis(f"share of {unit}, %", rangemode="tozero"),
        shapes=shapes,
    )


def _steps(
    values: NDArray[np.float64], edges: NDArray[np.float64], name: str, colour: str, dash: str
) -> Any:
    shares = 100 * np.histogram(values, edges)[0] / len(values)
    return graph_objects().Scatter(
        x=np.repeat(edges, 2)[1:-1],
        y=np.repeat(shares, 2),
        name=f"{name} (mean {values.mean():.3f})",
        mode="lines",
        line={"color": colour, "dash": dash, "width": 2},
        fill="tozeroy",
        fillcolor=f"{colour}33",
        hovertemplate="auROC %{x:.2f}: %{y:.1f} %",
    )


def _mean_point(name: str, mean: float, place: int) -> Any:
    return graph_objects().Scatter(
        x=[mean],
        y=[0],
        name=f"{label(name)} (mean {mean:.3f})",
        mode="markers",
        marker={"symbol": _MEAN_SYMBOLS[place], "size": 12, "color": SERIES[place % len(SERIES)]},
        cliponaxis=False,
        hovertemplate="%{x:.3f}",
    )


_MEAN_SYMBOLS = ("triangle-up", "diamond", "square", "star", "cross", "x")


def _vertical(x: float, colour: str, dash: str) -> dict[str, Any]:
    line = {"color": colour, "dash": dash, "width": 1.5}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def evaluations_table(evaluations: Sequence[Evaluated]) -> Table:
    """List what `evaluate` wrote, a row each, baselines below their model."""
    rows: list[tuple[str, ...]] = []
    for one in evaluations:
        split = plain_text(one.values.get("split", ""))
        name = plain_text(one.values.get("model", one.url))
        scores = _mapping(_mapping(one.values.get("labels")).get("label_score"))
        rows.append(_evaluation_row(name, split, _mapping(one.values.get("prediction")), scores))
        rows += [
            _evaluation_row(f"- {name}", split, values, _mapping(values.get("label_score")))
            for name, values in baselines_of(one)
        ]
    return Table(
        "Evaluations given",
        ("model", "peaks", "auROC per cell", "auROC per peak", "label score"),
        tuple(rows),
        "Rows can be compared where they stand on the same atlas and split.",
    )


def baselines_of(one: Evaluated) -> list[tuple[str, Mapping[str, Any]]]:
    """Return name and figures of each row that `evaluate --baselines` wrote."""
    rows = _mapping(one.values.get("baselines")).get("rows")
    found = [_mapping(row) for row in rows] if isinstance(rows, list) else []
    return [(plain_text(row.get("name", "unnamed")), row) for row in found if row]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _evaluation_row(
    name: str, split: str, figures: Mapping[str, Any], scores: Mapping[str, Any]
) -> tuple[str, ...]:
    listed = ", ".join(f"{_number(v)} (k = {plain_text(k)})" for k, v in scores.items())
    return (
        name,
        split,
        _number(figures.get("auroc_per_cell")),
        _number(figures.get("auroc_per_peak")),
        listed or "-",
    )


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "-"
