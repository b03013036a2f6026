"""How good a model is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from atlasjobs.output.lines import value_text
from atlasstore.text_units import count

if TYPE_CHECKING:
    from atlasbasset.metrics import NeighborScore
    from atlasbasset.metrics.coembedding import PairedRanks
    from atlasbasset.verbs.evaluate import Evaluation
    from atlasbasset.verbs.evaluate.baseline_table import BaselineTable
    from atlasbasset.verbs.evaluate.profiles import ProfileMeasures
    from atlasbasset.verbs.evaluate.rna import GeneMeasures, RnaMeasures
    from atlasstore.plans import Lines

__all__ = ["baseline_columns", "evaluation_facts"]

_SHORT = {
    "n_cells": "cells",
    "n_peaks": "learned",
    "n_held_out": "predicted",
    "auroc_per_cell": "auROC/cell",
    "auroc_per_peak": "auROC/peak",
    "ari": "ARI",
}


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
    return [
        *rows,
        *_embedding_facts(evaluation),
        *_profile_facts(evaluation.profiles),
        *_rna_facts(evaluation.rna),
    ]


def baseline_columns(table: BaselineTable) -> tuple[list[str], list[list[str]]]:
    """Return the header and rows of a table of baselines; what does not apply is a dash."""
    found = table.to_frame()
    header = ["baseline", *(_short(str(name)) for name in found)]
    rows = [[name, *(_figure(value) for value in values)] for name, *values in found.itertuples()]
    return header, rows


def _short(name: str) -> str:
    measure, _, k = name.rpartition("_")
    return f"{measure.split('_')[0]} k={k}" if k.isdigit() else _SHORT[name]


def _figure(value: float) -> str:
    if isinstance(value, int):
        return count(value) if value else "-"
    return "-" if math.isnan(value) else f"{value:.3f}"


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


def _profile_facts(profiles: ProfileMeasures | None) -> Lines:
    if profiles is None:
        return []
    used, all_of_them = profiles.n_peaks_used, profiles.n_peaks
    stands_on = f"{count(used)} peaks" + ("" if used == all_of_them else ", a sample")
    rows = [("denoised profiles", stands_on)]
    if (labels := profiles.labels) is not None:
        rows += [(f"  label score, k = {k}", f"{v:.3f}") for k, v in labels.mean.items()]
    if profiles.asw is not None:
        rows.append(("  cell-type ASW, 1 - Pearson", f"{profiles.asw.asw:.3f}"))
    if profiles.neighbors is not None:
        rows += _neighbor_facts("  neighbor score", profiles.neighbors)
    return rows


def _rna_facts(rna: RnaMeasures | None) -> Lines:
    if rna is None:
        return []
    rows = [
        ("RNA", f"{count(rna.n_cells)} cells, {rna.values}; {rna.embedding}"),
        *_neighbor_facts("  neighbor score", rna.neighbors),
    ]
    for name in ("denoised", "observed"):
        if (genes := getattr(rna, name)) is not None:
            rows += _gene_facts(name, genes)
    return rows


def _neighbor_facts(name: str, found: NeighborScore) -> Lines:
    """Say each k's share, and the share by chance."""
    sampled = "" if found.n_queries == found.n_cells else f", {count(found.n_queries)} cells asked"
    return [
        (f"{name}, k = {k}", f"{share:.3f} (chance {k / (found.n_cells - 1):.3f}{sampled})")
        for k, share in found.mean.items()
    ]


def _gene_facts(name: str, genes: GeneMeasures) -> Lines:
    found = genes.agreement
    n_cells, n_genes = len(found.per_cell), len(found.per_gene)
    return [
        (f"  {name}: r per cell", f"{found.mean_per_cell:.3f} ({count(n_genes)} genes)"),
        (f"  {name}: r per gene", f"{found.mean_per_gene:.3f} ({count(n_cells)} cells)"),
        *_rank_facts(f"  {name}: R_c", genes.integration),
        *_rank_facts(f"  {name}: R_c before imputation", genes.co_embedding),
    ]


def _rank_facts(name: str, ranks: PairedRanks | None) -> Lines:
    if ranks is None:
        return []
    of = f"of {count(ranks.n_cells)} cells, median {ranks.median:.1f}"
    return [(name, f"{ranks.mean:.1f} {of} (chance {(ranks.n_cells + 1) / 2:.1f})")]


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f", 95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}"


def _of_all(value: float, unit: str, n_left_out: int) -> str:
    left_out = f" ({count(n_left_out)} {unit} with one class left out)" if n_left_out else ""
    return f"{value:.3f}{left_out}"
