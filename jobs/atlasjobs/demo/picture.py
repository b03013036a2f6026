"""The demo's picture: the embedding, the loss, and auROC next to its ceiling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from atlasjobs.demo.result import DemoResult

__all__ = ["draw_auroc", "draw_embedding", "draw_loss", "save_picture"]

_COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
"""Paul Tol's bright scheme: distinguished also without red-green vision."""
_REACHED, _CEILING = "#4477AA", "#CCCCCC"


def save_picture(
    result: DemoResult, embedding: NDArray[np.float32], labels: Sequence[str], path: Path
) -> None:
    """Write the PNG.

    Parameters
    ----------
    embedding
        float32, shape (N, E).
    labels
        The N cells' types.
    """
    figure = Figure(figsize=(13.5, 4.3), dpi=130, layout=ConstrainedLayoutEngine(w_pad=0.15))
    axes = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    draw_embedding(embedding, labels, ax=axes[0])
    draw_loss(result.history, ax=axes[1])
    draw_auroc(result, ax=axes[2])
    figure.savefig(path)


def draw_embedding(embedding: NDArray[np.float32], labels: Sequence[str], *, ax: Axes) -> None:
    """Draw the first two principal components of the cells, coloured by label."""
    centred = embedding - embedding.mean(axis=0)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    explained = 100 * spread[:2] ** 2 / np.sum(spread**2)
    named = np.asarray(labels, dtype=object)
    for index, name in enumerate(sorted(set(labels))):
        x, y = points[named == name].T
        colour = _COLOURS[index % len(_COLOURS)]
        ax.scatter(x, y, s=9, alpha=0.7, linewidths=0, color=colour, label=name)
    ax.set(
        title=f"{len(named):,} cells by their embedding",
        xlabel=f"component 1 ({explained[0]:.0f} % of the variance)",
        ylabel=f"component 2 ({explained[1]:.0f} %)",
    )
    ax.legend(frameon=False, markerscale=2, handletextpad=0.2, fontsize=9)
    _tidy(ax)


def draw_loss(history: Sequence[Mapping[str, Any]], *, ax: Axes) -> None:
    """Draw the training loss and, on a second axis, the validation auROC per cell by epoch."""
    epochs = [record["epoch"] for record in history]
    ax.plot(epochs, [record["loss"] for record in history], "o-", color=_COLOURS[0], ms=4)
    ax.set(title="Learning", xlabel="epoch", xticks=epochs[:: -(-len(epochs) // 10)])
    ax.set_ylabel("training loss (cross-entropy, nats)", color=_COLOURS[0])
    _tidy(ax)
    beside = ax.twinx()
    aurocs = [record["valid_auroc_per_cell"] for record in history]
    beside.plot(epochs, aurocs, "s-", color=_COLOURS[1], ms=4)
    beside.set_ylabel("validation auROC per cell", color=_COLOURS[1])
    beside.spines["top"].set_visible(False)


def draw_auroc(result: DemoResult, *, ax: Axes) -> None:
    """Draw auROC on held-out peaks: reached, and what the true probabilities reach."""
    prediction, ceiling = result.evaluation.prediction, result.ceiling
    names = ["per cell", "per peak"]
    reached = [prediction.mean_auroc_per_cell, prediction.mean_auroc_per_peak]
    best = [ceiling.auroc_per_cell, ceiling.auroc_per_peak]
    places = np.arange(2)
    model = ax.bar(places - 0.19, reached, 0.36, color=_REACHED, label="model")
    truth = ax.bar(places + 0.19, best, 0.36, color=_CEILING, label="the truth itself")
    for bars in (model, truth):
        ax.bar_label(bars, fmt="%.3f", fontsize=9, padding=2)
    ax.axhline(0.5, color="#888888", lw=0.8, ls=":")
    ax.set(
        title=f"{len(prediction.auroc_per_peak):,} held-out peaks",
        xticks=places,
        xticklabels=names,
        ylim=(0.45, max(best) + 0.12),
        ylabel="auROC (0.5 is chance)",
    )
    ax.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
    _tidy(ax)


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
