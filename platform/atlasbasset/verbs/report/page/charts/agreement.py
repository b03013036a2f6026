"""Figures of labels against neighbours and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.verbs.report.page.document import Csv, Figure, Table
from atlasbasset.verbs.report.page.palette import SEQUENTIAL, SERIES
from atlasbasset.verbs.report.page.plot import axis, graph_objects, new_plot
from atlasbasset.verbs.report.page.text import figure, label
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.verbs.report.findings.agreement import Agreement, Mixing

__all__ = ["clusters_figure", "mixing_table", "score_figure", "score_table"]

_MOST_LABELS = 40


def score_table(found: Agreement) -> Table:
    """List label scores of the model and the baselines by number of neighbours."""
    ks = list(found.scores["model"].mean)
    rows = [
        (name, *(figure(score.mean.get(k)) for k in ks)) for name, score in found.scores.items()
    ]
    chance = figure(found.scores["model"].chance)
    rows.append(("chance", *(chance for _ in ks)))
    return Table(
        "Label score: share of a cell's k nearest neighbours with its label",
        ("embedding", *(f"k = {k}" for k in ks)),
        tuple(rows),
        f"On {count(found.n_cells)} cells. PCA and LSI (less its first component) see which "
        "training peaks are open, without their sequences.",
    )


def score_figure(found: Agreement) -> Figure:
    """Draw each label's score, model beside baselines."""
    k = _middle(list(found.scores["model"].mean))
    names = list(found.scores["model"].by_label)[:_MOST_LABELS]
    go = graph_objects()
    columns = {
        name: [score.by_label.get(one, {}).get(k) for one in names]
        for name, score in found.scores.items()
    }
    traces = [
        go.Scatter(
            x=values,
            y=[label(one) for one in names],
            name=name,
            mode="markers",
            marker={
                "color": SERIES[i],
                "symbol": ("circle", "diamond-open", "square-open")[i],
                "size": 11,
                "line": {"width": 2},
            },
            hovertemplate="%{y}: %{x:.3f}",
        )
        for i, (name, values) in enumerate(columns.items())
    ]
    plot = new_plot(
        traces,
        xaxis=axis(f"label score, k = {k}", range=[-0.02, 1.03]),
        yaxis=axis("", autorange="reversed", type="category", showgrid=True),
    )
    return Figure(
        name="label-score",
        title="Label score of each label",
        says=_score_says(found, k),
        plot=plot,
        csv=Csv.of("label-score.csv", {"label": names, **columns}),
        height_px=170 + 26 * len(names),
    )


def _score_says(found: Agreement, k: int) -> str:
    ours = found.scores["model"]
    worst = min(ours.by_label, key=lambda name: ours.by_label[name].get(k, 1.0))
    text = f"The model reaches {figure(ours.mean.get(k))} (chance {figure(ours.chance)})"
    others = {name: score.mean[k] for name, score in found.scores.items() if name != "model"}
    if others:
        best = max(others, key=others.__getitem__)
        text += f", {_compared(ours.mean[k] - others[best])} {best}, the better baseline"
    return f"{text}. Its lowest label is {worst} ({figure(ours.by_label[worst].get(k))})."


def _compared(difference: float) -> str:
    if abs(difference) < _SAME:
        return "as high as"
    return f"{abs(difference):.3f} {'above' if difference > 0 else 'below'}"


_SAME = 5e-4


def _middle(ks: list[int]) -> int:
    return ks[len(ks) // 2]


def clusters_figure(found: Agreement) -> Figure | None:
    """Draw the share of each label's cells in each cluster; None without clusters."""
    if found.shares is None:
        return None
    rows = found.label_names[:_MOST_LABELS]
    shares = 100 * found.shares[: len(rows)]
    heat = graph_objects().Heatmap(
        z=shares.astype(np.float32),
        x=[name.removeprefix("cluster ") for name in found.cluster_names],
        y=[label(name) for name in rows],
        colorscale=SEQUENTIAL,
        zmin=0,
        zmax=100,
        colorbar={"title": {"text": "%"}, "thickness": 12},
        hovertemplate="%{y}: %{z:.1f} % in cluster %{x}<extra></extra>",
        xgap=1,
        ygap=1,
    )
    plot = new_plot(
        [heat],
        xaxis=axis("Leiden cluster", type="category", showgrid=False),
        yaxis=axis("", autorange="reversed", type="category", showgrid=False),
    )
    columns: dict[str, Any] = {"label": found.label_names}
    columns |= {name: found.shares[:, i] for i, name in enumerate(found.cluster_names)}
    return Figure(
        name="clusters",
        title="Labels in clusters",
        says=f"Adjusted Rand index {figure(found.ari)}, adjusted mutual information "
        f"{figure(found.ami)} (1: equal, 0: by chance), for "
        f"{len(found.cluster_names)} clusters and {len(found.label_names)} labels. One bright "
        "field in each row and column means that clusters are labels.",
        plot=plot,
        csv=Csv.of("clusters.csv", columns),
        height_px=170 + 26 * len(rows),
    )


def mixing_table(found: Mixing) -> Table:
    """List how batches mix."""
    kbet, ilisi = found.kbet, found.ilisi
    return Table(
        "Mixing of batches",
        ("measure", "value", "meaning"),
        (
            (
                "kBET acceptance",
                figure(kbet.acceptance),
                "share of mixed neighbourhoods, 0 to 1",
            ),
            (
                "iLISI",
                figure(ilisi.mean),
                f"batches around a cell: 1 to {ilisi.n_batches} when mixed",
            ),
        ),
        f"{kbet.n_batches} batches, {count(kbet.n_queries)} cells asked. Cell types that only one "
        "batch has lower both.",
    )
