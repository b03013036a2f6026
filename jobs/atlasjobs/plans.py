"""What ``--dry-run`` says: rows, blocks, bytes, memory, workers, reckoned, not done."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from atlasjobs.output.units import count, size
from atlasjobs.reports.memory import memory_rows, memory_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset import TrainConfig
    from atlasbasset.engine.memory.plan import MemoryPlan
    from atlasbasset.verbs.train.train import Launcher
    from atlasjobs.facts import Facts
    from atlasstore import Atlas
    from atlasstore.simulation import SimulationConfig

__all__ = [
    "Plan",
    "embedding_plan",
    "evaluation_plan",
    "simulation_plan",
    "training_plan",
]

_FRAGMENT_BYTES = 3  # a count in counts.h5ad: value and column, compressed
_FASTA_BYTES = 1.02  # a base and its share of a line end
_BP_PER_PEAK = 2500  # mean spacing of simulated peaks
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What a verb would do."""

    title: str
    rows: Facts
    values: Mapping[str, Any]
    """The same numbers for ``--json``."""

    def as_json(self) -> Mapping[str, Any]:
        """Return JSON values."""
        return {"dry_run": True, **self.values}


def simulation_plan(config: SimulationConfig, out: str) -> Plan:
    """Plan a simulation; refuses an output that exists."""
    from atlasstore.files.staging import refuse_existing

    refuse_existing(out)
    n_open = round(config.density * config.n_cells * config.n_peaks)
    genome_bp = config.n_peaks * _BP_PER_PEAK
    stored = round(n_open * _FRAGMENT_BYTES + genome_bp * _FASTA_BYTES)
    rows = [
        ("cells", f"{count(config.n_cells)} of {config.n_cell_types} types"),
        ("peaks", count(config.n_peaks)),
        ("genome", f"about {count(genome_bp)} bp"),
        ("open", f"about {count(n_open)} pairs of cell and peak"),
        ("stored", f"about {size(stored)}"),
    ]
    values = {**asdict(config), "out": out, "n_open": n_open, "stored_bytes": stored}
    return Plan(f"Would simulate {out}", rows, values)


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


def embedding_plan(model: str, out: str) -> Plan:
    """Plan writing a model's cells."""
    from atlasstore.files.staging import refuse_existing
    from atlasstore.models.model_store import ModelStore

    store = ModelStore.open(model)
    store.newest()
    refuse_existing(out)
    n_bytes = _FLOAT_BYTES * (32 + 1) * store.n_cells
    rows = [("cells", count(store.n_cells)), ("stored", f"about {size(n_bytes)}")]
    values = {"out": out, "n_cells": store.n_cells, "stored_bytes": n_bytes}
    return Plan(f"Would embed the cells into {out}", rows, values)


def evaluation_plan(model: str, atlas: str, split: str) -> Plan:
    """Plan an evaluation."""
    from atlasstore import Atlas
    from atlasstore.models.model_store import ModelStore

    opened, store = Atlas.open(atlas), ModelStore.open(model)
    store.newest()
    n_peaks = opened.n_peaks if split == "all" else len(opened.peak_rows(split))
    rows = [
        ("cells", count(store.n_cells)),
        ("peaks", f"{count(n_peaks)} of the {split} split"),
        ("predictions", f"{count(n_peaks * store.n_cells)}, made and dropped in tiles"),
    ]
    values = {"n_cells": store.n_cells, "n_peaks": n_peaks, "split": split}
    return Plan(f"Would evaluate {model}", rows, values)
