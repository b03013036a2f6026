"""How a training ended, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasbasset.engine.events import deviations_sentence
from atlasjobs.output.training_lines import converged
from atlasstore.text_units import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.verbs.train.report import TrainReport
    from atlasstore.plans import Lines

__all__ = ["training_facts"]


def training_facts(report: TrainReport) -> Lines:
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
    if (solved := report.final_solve) is not None:
        took = f"{converged(solved, report.n_cells)}, in {duration(solved['seconds'])}"
        rows.append(("cells solved at the end", took))
        rows += [(f"{name}, solved", value) for name, value in _quality_facts(solved)]
        if (found := solved.get("peak_deviations")) is not None:
            rows.append(("peak deviations", deviations_sentence(found)))
        rows.append(("stored model", "the one with its cells solved"))
    else:
        rows.append(("stored model", "that of the last epoch"))
    return [*rows, *(("notice", message) for message in report.notices)]


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


def _auroc(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
