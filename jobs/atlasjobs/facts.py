"""What a verb made, as lines of what and value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atlasjobs.output.training_lines import converged
from atlasjobs.output.units import count, duration, share, size

if TYPE_CHECKING:
    from atlasbasset.verbs.evaluate import Evaluation
    from atlasbasset.verbs.train.train import TrainReport
    from atlasstore import StoreSummary
    from atlasstore.simulation import SimulationReport

__all__ = [
    "Facts",
    "evaluation_facts",
    "simulation_facts",
    "store_facts",
    "training_facts",
    "value_text",
]

Facts = Sequence[tuple[str, str]]
"""Lines of a report: what, and its value with its unit."""


def simulation_facts(report: SimulationReport) -> Facts:
    """Describe a simulation."""
    config = report.config
    return [
        ("cells", f"{count(config.n_cells)} of {config.n_cell_types} types"),
        ("peaks", f"{count(config.n_peaks)} with {count(report.n_sites)} motif sites"),
        ("genome", f"{count(report.genome_bp)} bp"),
        ("fragments", f"{count(report.n_fragments)}, median {report.median_depth:,.0f} per cell"),
        ("open", f"{count(report.n_open)} pairs of cell and peak, {share(report.density)}"),
    ]


def store_facts(summary: StoreSummary) -> Facts:
    """Describe a store."""
    rows = [("format", f"{summary.format} version {summary.version}")]
    rows += [(name, value_text(name, value)) for name, value in summary.sizes.items()]
    rows.append(("stored", size(summary.stored_bytes)))
    rows += [row for name, value in summary.provenance.items() for row in _origin(name, value)]
    if summary.verified:
        rows.append(("verified", "every byte was read and is right"))
    return rows


def _origin(name: str, value: Any) -> list[tuple[str, str]]:
    """Return the lines of one part of a store's provenance."""
    if isinstance(value, Mapping) and "created" in value:  # a store that this one was made from
        return [(f"{name} made", f"{value['created']} (its provenance in full: --json -)")]
    if name == "inputs":
        return [("input", value_text(name, item)) for item in value]
    if name == "config" and isinstance(value, Mapping):
        return [(f"config {key}", value_text(key, item)) for key, item in value.items()]
    return [(name, value_text(name, value))]


def training_facts(report: TrainReport) -> Facts:
    """Describe how a training ended."""
    if not report.history:
        return [("epochs", "none")]
    last = report.history[-1]
    spent = sum(r["seconds"] + r["seconds_measuring"] for r in report.history)
    rows = [
        ("epochs", f"{len(report.history)} in {duration(spent)}: {report.stopped_because}"),
        *_quality_facts(last),
        ("speed", f"{last['sequences_per_s']:.0f} sequences/s in the last epoch"),
    ]
    if (solved := report.polished) is not None:
        took = f"{converged(solved, report.n_cells)}, in {duration(solved['seconds'])}"
        rows.append(("cells solved at the end", took))
        rows += [(f"{name}, solved", value) for name, value in _quality_facts(solved)]
    return rows


def _quality_facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("loss", f"{record['loss']:.4f}"),
        ("train auROC", f"{_auroc(record['train_auroc'])} per cell"),
        (
            "valid auROC",
            f"{_auroc(record['valid_auroc_per_cell'])} per cell, "
            f"{_auroc(record['valid_auroc_per_peak'])} per peak",
        ),
    ]


def evaluation_facts(evaluation: Evaluation) -> Facts:
    """Describe how good a model is."""
    found = evaluation.prediction
    rows = [
        ("auROC per cell", _of_all(found.mean_auroc_per_cell, "cells", found.n_cells_left_out)),
        ("auROC per peak", _of_all(found.mean_auroc_per_peak, "peaks", found.n_peaks_left_out)),
        ("auPR per cell", f"{found.mean_aupr_per_cell:.3f}"),
        ("auPR per peak", f"{found.mean_aupr_per_peak:.3f}"),
    ]
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


def _of_all(value: float, unit: str, n_left_out: int) -> str:
    left_out = f" ({count(n_left_out)} {unit} with one class left out)" if n_left_out else ""
    return f"{value:.3f}{left_out}"


def value_text(name: str, value: Any) -> str:
    """Return a value as a person reads it; the name tells the unit."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {value_text(key, item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(value_text(name, item) for item in value) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        if name.endswith("_bytes"):
            return size(value)
        return str(value) if name == "seed" else count(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _auroc(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
