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
COLOURS = {
    "atlasbasset": "#1b6ca8", "atlasbasset, 2 workers": "#7fb3d9", "fast": "#1b6ca8",
    "plain torch": "#d1495b", "released TensorFlow code fp32": "#3a7d44",
    "scvi-tools fp32": "#edae49",
}  # fmt: skip
OTHERS = ("#d1495b", "#8d96a3", "#3a7d44", "#edae49")

LABELS = {
    "without deviations | raw": "fast without deviations",
    "with deviations | raw": "fast",
    "with deviations | unit": "fast, cosine",
    "mapped, all peaks | unit": "fast on all peaks, cosine",
}
SHOWN = (
    "PCA", "LSI", "LSI less 1", "LSI less 1, unit", "LSI 2-12, unit", "logistic factorisation",
    "SnapATAC2 spectral", "PeakVI", *LABELS,
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
    """Draw rate and memory of a step against cells, with all of the processor's instructions."""
    table = results("step_scaling")
    table = table[[not harness.LIMITS & json.loads(c).keys() for c in table["config"]]]
    table = table[table["provider"].isin(COLOURS)]
    table = table.drop_duplicates(["provider", "metric", "x"], keep="last")
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
    table["trunk"] = [c.get("trunk") for c in table["config"]]
    table = table.drop_duplicates(["provider", "metric", "trunk"], keep="last")
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


DEPTHS = {
    "with deviations | unit": "fast, cosine",
    "LSI less 1, unit": "LSI less 1, unit",
    "LSI 2-12, unit": "LSI 2-12, unit",
    "logistic factorisation": "logistic factorisation",
    "SnapATAC2 spectral": "SnapATAC2 spectral",
}
"""What `embedding_sets` draws."""
BATCH_FORMS = {"none": OTHERS[1], "free": OTHERS[0], "given_state": COLOURS["fast"]}


def embedding_sets() -> None:
    """Draw depth, rare types and batches: where embeddings hold and where they do not."""
    table = results("embedding_quality")
    table["config"] = [json.loads(config) for config in table["config"]]
    trunks = [c.get("trunk") for c in table["config"]]
    change = [c.get("change") for c in table["config"]]
    table = table[
        [t != "small" and c in (["epochs=8"], None) for t, c in zip(trunks, change, strict=True)]
    ]
    table["data"] = [c["data"].replace("sim", "t12d0.03") for c in table["config"]]
    table = table.drop_duplicates(["provider", "metric", "data"], keep="last")
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
    for axis, n_types in zip(axes[0], (4, 12, 30), strict=True):
        _by_depth(axis, table, n_types)
    axes[0, 0].set_ylabel("label score, k = 10")
    axes[0, 2].legend(frameon=False, fontsize=7)
    _rare(axes[1, 0], table)
    batches = results("batch_effects")
    _batches(axes[1, 1], batches, "label_score_k50", "label score, k = 50")
    _batches(axes[1, 2], batches, "kbet_within_labels", "kBET within types")
    axes[1, 2].set_yticklabels([])
    axes[1, 1].legend(frameon=False, fontsize=7)
    save(figure, "embedding_sets")


def _by_depth(axis: plt.Axes, table: pd.DataFrame, n_types: int) -> None:
    """Draw label scores of an atlas's types against the share of open pairs."""
    densities = (0.01, 0.03, 0.1)
    for colour, (name, label) in zip((COLOURS["fast"], *OTHERS), DEPTHS.items(), strict=True):
        rows = table[(table["metric"] == "label score k=10") & (table["provider"] == name)]
        found = [rows.loc[rows["data"] == f"t{n_types}d{d}", "p50"] for d in densities]
        points = [(d, f.iloc[-1]) for d, f in zip(densities, found, strict=True) if len(f)]
        axis.plot(*zip(*points, strict=True), "o-", color=colour, label=label, markersize=4)
    axis.set(xscale="log", xlabel="share of open pairs", title=f"{n_types} types")
    axis.set_xticks(densities, labels=[f"{d:g}" for d in densities])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_ylim(0.55, 1.02)
    axis.spines[["top", "right"]].set_visible(False)


def _rare(axis: plt.Axes, table: pd.DataFrame) -> None:
    """Draw the share of rare types' cells that a vote of their neighbours finds, a mark a seed."""
    rows = table[(table["data"] == "rare") & (table["metric"] == "rare recall")]
    measured = {*rows["provider"]} - {"with deviations | raw"}
    shown = [name for name in SHOWN if name in measured]
    for name, config in zip(rows["provider"], rows["config"], strict=True):
        if name in shown:
            colour = COLOURS["fast"] if name in LABELS else OTHERS[1]
            seeds = config["by_seed"]
            axis.scatter(seeds, [-shown.index(name)] * len(seeds), color=colour, s=28, zorder=2)
    _named_rows(axis, [LABELS.get(name, name) for name in shown])
    axis.set(xlabel="recall of their cells", title="types with 1 % of the cells")


def _batches(axis: plt.Axes, table: pd.DataFrame, metric: str, label: str) -> None:
    """Draw what each form of correction leaves, by what was planted."""
    split = table["provider"].str.extract(r"(?P<planted>.*): solved, (?P<form>.*)")
    table = table.join(split).dropna(subset="planted")
    table = table[(table["metric"] == metric) & (table["planted"] != "aml_hg19")]
    cases = list(dict.fromkeys(table["planted"]))
    for form, colour in BATCH_FORMS.items():
        rows = table[table["form"] == form].drop_duplicates("planted", keep="last")
        places = [-cases.index(case) for case in rows["planted"]]
        axis.scatter(rows["p50"], places, color=colour, s=28, label=form, alpha=0.8, zorder=2)
    _named_rows(axis, cases)
    axis.set(xlabel=label, title="planted batches")


def _named_rows(axis: plt.Axes, names: list[str]) -> None:
    """Name the rows of dots, the first on top."""
    axis.set_yticks(range(0, -len(names), -1), labels=names, fontsize=8)
    axis.grid(axis="y", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def save(figure: plt.Figure, name: str) -> None:
    FIGURES.mkdir(exist_ok=True)
    figure.savefig(FIGURES / f"{name}.png", dpi=140)
    print(FIGURES / f"{name}.png")


def main() -> None:
    """Draw everything."""
    for draw in (step_scaling, recipes, embedding_quality, embedding_sets):
        draw()


if __name__ == "__main__":
    main()
