"""How good a model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasjobs.output.lines import value_text
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.verbs.evaluate import Evaluation
    from atlasstore.plans import Lines

__all__ = ["evaluation_facts"]


def evaluation_facts(evaluation: Evaluation) -> Lines:
    """Describe how good a model is."""
    found, sure = evaluation.prediction, evaluation.certainty
    cells, peaks = len(found.auroc_per_cell), len(found.auroc_per_peak)
    chance = "" if sure is None else f" (chance {sure.positive_share:.3f})"
    rows = [
        ("stands on", f"{count(peaks)} peaks and {count(cells)} cells"),
        (
            "auROC per cell",
            _of_all(found.mean_auroc_per_cell, "cells", found.n_cells_left_out)
            + _interval(None if sure is None else sure.auroc_per_cell),
        ),
        (
            "auROC per peak",
            _of_all(found.mean_auroc_per_peak, "peaks", found.n_peaks_left_out)
            + _interval(None if sure is None else sure.auroc_per_peak),
        ),
        ("auPR per cell", f"{found.mean_aupr_per_cell:.3f}{chance}"),
        ("auPR per peak", f"{found.mean_aupr_per_peak:.3f}{chance}"),
    ]
    if evaluation.n_peaks_overlapping:
        left_out = f"{count(evaluation.n_peaks_overlapping)}, for overlapping training windows"
        rows.append(("peaks left out", left_out))
    if evaluation.depth_correlation is not None:
        rows.append(("r, intercept with log10 depth", f"{evaluation.depth_correlation:.3f}"))
    return [*rows, *_embedding_facts(evaluation)]


def _embedding_facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    rows = []
    if (labels := evaluation.labels) is not None:
        chance = f"chance {labels.chance:.3f}"
        rows += [(f"label score, k = {k}", f"{v:.3f} ({chance})") for k, v in labels.mean.items()]
    if (clusters := evaluation.clusters) is not None:
        found = f"{clusters.n_clusters} clusters, {clusters.n_labels} labels"
        rows.append(("ARI", f"{clusters.ari:.3f} ({found})"))
        rows.append(("AMI", f"{clusters.ami:.3f}"))
        rows.append(("homogeneity", f"{clusters.homogeneity:.3f}"))
    if evaluation.asw is not None:
        rows.append(("cell-type ASW", f"{evaluation.asw.asw:.3f}"))
    for name in ("kbet", "ilisi"):
        if (mixing := getattr(evaluation, name)) is not None:
            rows.append((name, value_text(name, mixing.as_json())))
    return rows


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f", 95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}"


def _of_all(value: float, unit: str, n_left_out: int) -> str:
    left_out = f" ({count(n_left_out)} {unit} with one class left out)" if n_left_out else ""
    return f"{value:.3f}{left_out}"
