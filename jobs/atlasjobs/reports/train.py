"""What training would hold, and how it ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from atlasjobs.output.lines import Plan
from atlasjobs.output.training_lines import converged
from atlasjobs.reports.memory import memory_rows, memory_values
from atlasstore.text_units import count, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset import TrainConfig
    from atlasbasset.engine.memory.plan import MemoryPlan
    from atlasbasset.verbs.train.train import Launcher, TrainReport
    from atlasstore import Atlas
    from atlasstore.plans import Lines

__all__ = ["training_facts", "training_plan"]


def training_plan(
    atlas: str,
    out: str,
    config: TrainConfig,
    *,
    workers: int,
    min_workers: int | None = None,
    memory: str | None = None,
    launcher: Launcher = "auto",
    gpus_per_worker: float = 0,
) -> Plan:
    """Plan a training; refuses what `train` would refuse, memory that does not suffice included."""
    from atlasbasset.engine.memory.limit import run_limit
    from atlasbasset.engine.memory.plan import plan_training
    from atlasbasset.verbs.train.train import check_training
    from atlasstore import Atlas

    opened = Atlas.open(atlas)
    config = check_training(
        opened,
        out=out,
        config=config,
        workers=workers,
        min_workers=min_workers,
        launcher=launcher,
        memory=memory,
    )
    limit = run_limit(memory, workers=workers, launcher=launcher, gpus_per_worker=gpus_per_worker)
    standing, begun = _standing(out)
    least = min_workers or workers
    planned = plan_training(opened, config, workers=least, limit=limit, begun=begun)
    run = _run_values(opened, config, planned)
    rows = [
        ("training peaks", count(run["n_train_peaks"])),
        ("cells", f"{count(run['n_cells'])} in {count(run['n_blocks'])} blocks"),
        ("parameters", count(run["n_parameters"])),
        ("workers", _workers_line(workers, least)),
        (
            "steps",
            f"{count(run['steps_per_epoch'])} per epoch, {count(config.epochs)} epochs at most",
        ),
        *memory_rows(planned),
        ("model", standing),
    ]
    values = {**run, "memory": memory_values(planned), "config": config.as_json()}
    return Plan(f"Would train {out}", rows, values)


def _workers_line(workers: int, least: int) -> str:
    """Say how many there are, and for how few memory is reckoned."""
    line = f"{workers}, each with whole blocks"
    return line if least == workers else f"{line}; memory is reckoned for {least}"


def _run_values(atlas: Atlas, config: TrainConfig, planned: MemoryPlan) -> dict[str, int]:
    from atlasbasset.engine.peak_sampling import epoch_groups

    sizes, peaks = planned.sizes, atlas.peak_rows("train")
    config = replace(config, group_peaks=planned.layout.group_peaks)
    return {
        "n_train_peaks": len(peaks),
        "n_cells": atlas.n_cells,
        "n_blocks": len(atlas.blocks),
        "workers": sizes.workers,
        "steps_per_epoch": sum(len(group.steps) for group in epoch_groups(peaks, config, 0)),
        "n_parameters": sizes.n_parameters + sizes.table_width * (atlas.n_cells + sizes.n_batches),
    }


def _standing(out: str) -> tuple[str, bool]:
    """Say where a model stands, and whether its run is under way."""
    from atlasbasset.verbs.train.setup import has_begun
    from atlasstore.models.model_store import ModelStore

    if not has_begun(out):
        return f"{out}, new", False
    checkpoint = ModelStore.open(out).latest()
    done = 0 if checkpoint is None else len(checkpoint.state["history"])
    return f"{out}, goes on after epoch {done}", True


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


def _auroc(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
