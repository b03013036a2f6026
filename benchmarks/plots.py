"""Plots of what the other scripts left in results/*.csv, into docs/figures/.

python benchmarks/plots.py
"""

from __future__ import annotations

import json
from pathlib import Path

import harness
import matplotlib as mpl
import pandas as pd

mpl.use("Agg")  # before pyplot: no window
import matplotlib.pyplot as plt
from matplotlib.ticker import NullLocator

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"
COLOURS = {"atlasbasset": "#1b6ca8", "atlasbasset, 2 workers": "#7fb3d9", "fast": "#1b6ca8"}
OTHERS = ("#d1495b", "#8d96a3", "#3a7d44", "#edae49")

LABELS = {
    "without deviations | raw": "fast without deviations",
    "with deviations | raw": "fast",
    "with deviations | unit": "fast, cosine",
}
SHOWN = (
    "PCA", "LSI", "LSI less 1", "LSI less 1, unit", "LSI 2-12, unit", "logistic factorisation",
    "SnapATAC2 spectral", *LABELS,
)  # fmt: skip
"""What `embedding_quality` draws, from the top."""


def results(name: str) -> pd.DataFrame:
    """Return the newest row of every (provider, metric, x, config)."""
    table = pd.read_csv(harness.RESULTS / f"{name}.csv")
    return table.drop_duplicates(["provider", "metric", "x", "config"], keep="last")


def lines(axis: plt.Axes, table: pd.DataFrame) -> None:
    """Draw one line a provider, with the 20th and 80th percentile."""
    others = iter(OTHERS)
    for provider, rows in sorted(table.groupby("provider"), key=lambda found: found[0]):
        colour = COLOURS.get(str(provider)) or next(others)
        ordered = rows.sort_values("x")
        axis.plot(ordered["x"], ordered["p50"], "o-", color=colour, label=provider, markersize=4)
        axis.fill_between(ordered["x"], ordered["p20"], ordered["p80"], color=colour, alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)


def plain_ticks(axis: plt.Axes, ticks: list[float]) -> None:
    """Label a logarithmic axis with plain numbers."""
    axis.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.yaxis.set_minor_locator(NullLocator())


def step_scaling() -> None:
    """Draw rate and memory of a step against cells."""
    table = results("step_scaling").drop_duplicates(["provider", "metric", "x"], keep="last")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, metric, label in zip(
        axes,
        ("throughput", "peak memory"),
        ("sequences / s", "peak memory without labels, GiB"),
        strict=True,
    ):
        lines(axis, table[table["metric"] == metric])
        axis.set(xscale="log", yscale="log", xlabel="cells", ylabel=label)
    plain_ticks(axes[0], [20, 50, 100, 200, 400])
    plain_ticks(axes[1], [1, 2, 3, 4, 5])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    save(figure, "step_scaling")


def recipes() -> None:
    """Draw what a recipe reaches against epochs, one row of panels an atlas."""
    table = results("recipes")
    table["atlas"] = [json.loads(config)["atlas"] for config in table["config"]]
    table = table[table["provider"].isin(["fast", "paper"])]
    shown = {
        "auroc_per_cell": "auROC per cell",
        "auroc_per_peak": "auROC per peak",
        "label_score_k50": "label score, k = 50",
    }
    atlases = list(dict.fromkeys(table["atlas"]))
    figure, axes = plt.subplots(
        len(atlases), 3, figsize=(9, 2.7 * len(atlases)), layout="constrained", squeeze=False
    )
    for row, atlas in zip(axes, atlases, strict=True):
        for axis, (metric, label) in zip(row, shown.items(), strict=True):
            chosen = table[(table["atlas"] == atlas) & (table["metric"] == metric)]
            chosen = chosen.drop_duplicates(["provider", "x"], keep="last")
            lines(axis, chosen)
            axis.set(xlabel="epochs", ylabel=label, title=atlas)
    axes[0, 0].legend(frameon=False, fontsize=8)
    save(figure, "recipes")


def embedding_quality() -> None:
    """Draw label scores on the simulated 12 types, baselines first, a mark a seed."""
    table = results("embedding_quality")
    table["config"] = [json.loads(config) for config in table["config"]]
    eight = [["epochs=8"], None]  # baselines have no change
    table = table[[c["data"] == "sim" and c.get("change") in eight for c in table["config"]]]
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.6), layout="constrained", sharey=True)
    for axis, k in zip(axes, (10, 50, 100), strict=True):
        rows = table[(table["metric"] == f"label score k={k}")]
        rows = rows[[name in SHOWN for name in rows["provider"]]]
        for name, config in zip(rows["provider"], rows["config"], strict=True):
            seeds, trunk = config["by_seed"], config.get("trunk")
            is_ours = name in LABELS
            colour = COLOURS["fast"] if is_ours else OTHERS[1]
            filled = colour if trunk != "full" or not is_ours else "none"
            places = [len(SHOWN) - SHOWN.index(name)] * len(seeds)
            axis.scatter(seeds, places, color=colour, facecolor=filled, s=28, zorder=2)
        axis.set(xlabel=f"label score, k = {k}")
        axis.set_yticks(range(len(SHOWN), 0, -1), labels=[LABELS.get(n, n) for n in SHOWN])
        axis.grid(axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, "embedding_quality")


def save(figure: plt.Figure, name: str) -> None:
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=140)
    print(FIGURES / f"{name}.png")


def main() -> None:
    """Draw everything there are results of."""
    for draw in (step_scaling, recipes, embedding_quality):
        if (harness.RESULTS / f"{draw.__name__}.csv").exists():
            draw()


if __name__ == "__main__":
    main()
