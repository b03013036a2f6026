"""What `motifs` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.batch.run import Workers
    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.verbs.motifs.motifs import InsertionOptions, MotifReport
    from atlasstore.genome.motifs import Motif
    from atlasstore.plans import Lines

__all__ = ["motifs_facts", "motifs_plan"]

_FLOAT_BYTES = 4
_GIGA = 1e9


class _Work(NamedTuple):
    """Floating-point operations of a motif insertion."""

    references: int
    """Full passes of the backgrounds."""
    insertions: int
    full: int
    """Of all insertions, were each a full pass."""

    @property
    def total(self) -> int:
        """What is done."""
        return self.references + self.insertions

    def as_json(self) -> dict[str, float]:
        """Return JSON values, 1e9 operations."""
        whole = self.references + self.full
        return {"gflop": self.total / _GIGA, "gflop_full_passes": whole / _GIGA}


def motifs_plan(
    model: str, atlas: str, motifs: str, out: str, *, options: InsertionOptions, pool: Workers
) -> Plan:
    """Plan a motif insertion; refuses what `motif_activity` would refuse."""
    from atlasbasset.inference.model import trunk_config
    from atlasbasset.verbs.motifs.motifs import check_insertion
    from atlasstore import Atlas
    from atlasstore.genome.motifs import read_meme
    from atlasstore.models.model_store import ModelStore
    from atlasstore.resume.ledger import refuse_taken

    refuse_taken(out)
    found, store = read_meme(motifs), ModelStore.open(model)
    store.newest()
    for url in (model, out):
        pool.reachable(url)
    config = trunk_config(store)
    check_insertion(found, Atlas.open(atlas), options, model=store)
    work = _work(found, options.n_backgrounds, config)
    sizes = _sizes(store.n_cells, found, options, config)
    rows = [
        ("cells", count(store.n_cells)),
        ("motifs", f"{count(len(found))} of {_widths(found)} bp"),
        ("backgrounds", f"{count(options.n_backgrounds)} shuffled peaks, split {options.split}"),
        ("sequences", f"{count(sizes['n_sequences'])} in {count(sizes['n_units'])} units"),
        ("work", _work_line(work)),
        *_sigmoid_rows(options.scale, store.n_cells * sizes["n_sequences"]),
        ("z-scores", f"{size(sizes['dense_bytes'])} in {count(sizes['n_shards'])} shards"),
        ("scratch", size(sizes["scratch_bytes"])),
        ("memory", f"about {size(sizes['memory_bytes'])} per worker beside the program"),
        ("workers", "this process" if not pool.count else f"{pool.count} Ray actors"),
    ]
    values = {"out": out, "workers": pool.count, **sizes, **work.as_json()}
    return Plan(f"Would score motifs into {out}", rows, values)


def _sizes(
    n_cells: int, motifs: Sequence[Motif], options: InsertionOptions, config: TrunkConfig
) -> dict[str, int]:
    from atlasbasset.verbs.motifs.insertion import insertion_bytes, insertion_units
    from atlasstore.zarrio.table_plan import plan_table

    n_motifs, n_backgrounds = len(motifs), options.n_backgrounds
    table = plan_table("X", (n_cells, n_motifs), "float32")
    n_sequences = n_backgrounds * (1 + n_motifs)
    raw_bytes = table.n_bytes if options.scale == "sigmoid" else 0
    return {
        "n_cells": n_cells,
        "n_motifs": n_motifs,
        "n_backgrounds": n_backgrounds,
        "n_sequences": n_sequences,
        "n_units": len(insertion_units(n_backgrounds, n_motifs)),
        "dense_bytes": table.n_bytes,
        "n_shards": table.n_shards,
        "scratch_bytes": n_sequences * config.embedding_dim * _FLOAT_BYTES + raw_bytes,
        "memory_bytes": insertion_bytes(config, [m.width for m in motifs], n_backgrounds)
        + n_cells * (config.embedding_dim + 1) * _FLOAT_BYTES,
    }


def _work(motifs: Sequence[Motif], n_backgrounds: int, config: TrunkConfig) -> _Work:
    from atlasbasset.core.cost import change_flops, pass_flops
    from atlasbasset.verbs.motifs.insertion import insertion_start

    whole = pass_flops(config)
    changes = (
        change_flops(config, insertion_start(config.window_bp, motif.width), motif.width)
        for motif in motifs
    )
    return _Work(
        references=n_backgrounds * whole,
        insertions=n_backgrounds * sum(changes),
        full=n_backgrounds * whole * len(motifs),
    )


def _work_line(work: _Work) -> str:
    saved = (work.references + work.full) / work.total
    return f"{count(work.total / _GIGA)} GFLOP, {saved:.1f} times less than full passes"


def _sigmoid_rows(scale: str, n_values: int) -> list[tuple[str, str]]:
    return [("sigmoids", count(n_values))] if scale == "sigmoid" else []


def _widths(motifs: Sequence[Motif]) -> str:
    widths = [motif.width for motif in motifs]
    return f"{min(widths)} to {max(widths)}"


def motifs_facts(report: MotifReport) -> Lines:
    """Describe TF activities."""
    return [
        ("cells x motifs", f"{count(report.n_cells)} x {count(report.n_motifs)}"),
        ("backgrounds", count(report.n_backgrounds)),
        ("scale", report.scale),
        ("z-scores", size(report.dense_bytes)),
        ("differ most between cells", ", ".join(report.most_variable)),
    ]
