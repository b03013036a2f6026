"""What ``--dry-run`` says: rows, blocks, bytes, memory, workers, reckoned, not done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasjobs.units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset import TrainConfig
    from atlasjobs.facts import Facts
    from atlasstore import Atlas
    from atlasstore.simulation import SimulationConfig

__all__ = [
    "Plan",
    "TrainingSizes",
    "denoising_plan",
    "embedding_plan",
    "evaluation_plan",
    "simulation_plan",
    "training_plan",
    "training_sizes",
]

_ADAM_BYTES = 12  # a float32 parameter and its two moments
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


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSizes:
    """Rows, steps and memory of a training."""

    n_train_peaks: int
    n_cells: int
    n_blocks: int
    workers: int
    steps_per_epoch: int
    n_parameters: int
    """Of the whole model; method: 4,513,960 + 33 N, more with batches."""
    sequence_bytes: int
    """One byte per stored base, P (L + 2 flank), on every worker."""
    label_bytes: int
    """2 per positive and 8 per peak and block, of the heaviest worker."""
    cell_bytes: int
    """Cell table, gradient's moments included: 12 bytes x 33 N, of the widest worker."""
    trunk_bytes: int
    """The trunk and its Adam moments, on every worker."""

    @property
    def memory_bytes(self) -> int:
        """What one worker holds, without the activations of a step."""
        return self.sequence_bytes + self.label_bytes + self.cell_bytes + self.trunk_bytes


def simulation_plan(config: SimulationConfig, out: str) -> Plan:
    """Plan a simulation; refuses an output that exists."""
    from atlasstore.staging import refuse_existing

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


def training_plan(atlas: str, out: str, config: TrainConfig, *, workers: int) -> Plan:
    """Plan a training; refuses what `train` would refuse."""
    from atlasbasset.verbs.train import check_training
    from atlasstore import Atlas

    opened = Atlas.open(atlas)
    config = check_training(opened, out=out, config=config, workers=workers)
    sizes = training_sizes(opened, config, workers=workers)
    rows = [
        ("training peaks", count(sizes.n_train_peaks)),
        ("cells", f"{count(sizes.n_cells)} in {count(sizes.n_blocks)} blocks"),
        ("parameters", count(sizes.n_parameters)),
        ("workers", f"{workers}, each with whole blocks"),
        (
            "steps",
            f"{count(sizes.steps_per_epoch)} per epoch, at most {count(config.epochs)} epochs",
        ),
        ("sequences", f"{size(sizes.sequence_bytes)} per worker"),
        ("labels", f"{size(sizes.label_bytes)} on the heaviest worker"),
        ("cell table, Adam", f"{size(sizes.cell_bytes)} on the widest worker"),
        ("trunk, Adam", f"{size(sizes.trunk_bytes)} per worker"),
        ("memory", f"{size(sizes.memory_bytes)} per worker, and a step's activations"),
        ("model", _standing(out)),
    ]
    values = {**asdict(sizes), "memory_bytes": sizes.memory_bytes, "config": config.as_json()}
    return Plan(f"Would train {out}", rows, values)


def training_sizes(atlas: Atlas, config: TrainConfig, *, workers: int) -> TrainingSizes:
    """Reckon rows, steps and memory.

    Raises
    ------
    UserInputError
        More workers than cell blocks, or a `batch_key` that is no column of obs.
    """
    from atlasstore.blocks import assign_blocks

    ranks = assign_blocks(atlas.block_positives, max(workers, 1))
    dim = config.trunk.embedding_dim
    positives = max(sum(atlas.block_positives[i] for i in rank) for rank in ranks)
    widest = max(sum(atlas.blocks[i].n_cells for i in rank) for rank in ranks)
    n_train = len(atlas.peak_rows("train"))
    trunk = _trunk_parameters(config, atlas.window_bp)
    return TrainingSizes(
        n_train_peaks=n_train,
        n_cells=atlas.n_cells,
        n_blocks=len(atlas.blocks),
        workers=workers,
        steps_per_epoch=-(-n_train // config.batch_size),
        n_parameters=trunk + (dim + 1) * (atlas.n_cells + _n_batches(atlas, config.batch_key)),
        sequence_bytes=atlas.n_peaks * (atlas.window_bp + 2 * atlas.flank_bp),
        label_bytes=2 * positives + 8 * (atlas.n_peaks + 1) * max(len(rank) for rank in ranks),
        cell_bytes=_ADAM_BYTES * (dim + 1) * widest,
        trunk_bytes=_ADAM_BYTES * trunk,
    )


def _trunk_parameters(config: TrainConfig, window_bp: int) -> int:
    trunk = config.trunk
    filters = (trunk.stem_filters, *trunk.tower_filters, trunk.prebottleneck_filters)
    widths = (trunk.stem_kernel, *(trunk.tower_kernel,) * len(trunk.tower_filters), 1)
    taken = (4, *filters[:-1])
    convolutions = sum(
        c_in * w * c_out for c_in, w, c_out in zip(taken, widths, filters, strict=True)
    )
    dense = filters[-1] * (window_bp // trunk.pool_bp) * trunk.embedding_dim
    return convolutions + dense + 2 * (sum(filters) + trunk.embedding_dim)


def _n_batches(atlas: Atlas, key: str | None) -> int:
    from atlasstore.errors import UserInputError

    if key is None:
        return 0
    if key not in atlas.obs:
        raise UserInputError(
            f"obs has no column {key!r} for --batch-key; its columns are "
            f"{', '.join(map(str, atlas.obs.columns))}."
        )
    return int(atlas.obs[key].nunique())


def _standing(out: str) -> str:
    from atlasstore import urls
    from atlasstore.model_store import ModelStore

    if not urls.exists(out):
        return f"{out}, new"
    checkpoint = ModelStore.open(out).latest()
    done = 0 if checkpoint is None else len(checkpoint.state["history"])
    return f"{out}, goes on after epoch {done}"


def embedding_plan(model: str, out: str) -> Plan:
    """Plan writing a model's cells."""
    from atlasstore.model_store import ModelStore
    from atlasstore.staging import refuse_existing

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
    from atlasstore.model_store import ModelStore

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


def denoising_plan(
    model: str,
    atlas: str,
    out: str,
    *,
    peaks: str | None,
    cells: str | None,
    dtype: str,
    dense: bool,
) -> Plan:
    """Plan a denoising; refuses an output that exists and peaks that the atlas does not have."""
    from atlasstore import Atlas
    from atlasstore.model_store import ModelStore
    from atlasstore.results import plan_dense
    from atlasstore.staging import refuse_existing

    refuse_existing(out)
    opened, store = Atlas.open(atlas), ModelStore.open(model)
    store.newest()
    n_peaks, n_cells = _chosen_peaks(opened, peaks), _chosen_cells(store.n_cells, cells)
    factored = _FLOAT_BYTES * (33 * n_cells + 32 * n_peaks)
    rows = [
        ("cells", f"{count(n_cells)} of {count(store.n_cells)}"),
        ("peaks", f"{count(n_peaks)} of {count(opened.n_peaks)}"),
        ("factored form", size(factored)),
    ]
    values = {"out": out, "n_cells": n_cells, "n_peaks": n_peaks, "factored_bytes": factored}
    if dense:
        table = plan_dense(n_cells, n_peaks, dtype=dtype)
        shards = len(list(table.shards()))
        rows.append(("dense table", f"{size(table.n_bytes)} in {dtype}, {count(shards)} shards"))
        values |= {"dense_bytes": table.n_bytes, "n_shards": shards}
    return Plan(f"Would denoise into {out}", rows, values)


def _chosen_peaks(atlas: Atlas, bed: str | None) -> int:
    from atlasstore.overlaps import overlapping_rows
    from atlasstore.peaks import read_bed

    return (
        atlas.n_peaks if bed is None else len(overlapping_rows(atlas.var, read_bed(bed), name=bed))
    )


def _chosen_cells(n_cells: int, listed: str | None) -> int:
    from atlasstore.errors import UserInputError
    from atlasstore.textfiles import numbered_lines

    if listed is None:
        return n_cells
    return sum(1 for _, line in numbered_lines(listed, error=UserInputError) if line.strip())
