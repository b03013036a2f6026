"""What `variants` would do and what it did, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasjobs.output.lines import Plan
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.batch.run import Workers
    from atlasbasset.core.config import TrunkConfig
    from atlasbasset.verbs.variants.variants import VariantsReport
    from atlasstore.models.model_store import ModelStore
    from atlasstore.plans import Lines
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = ["variants_facts", "variants_plan"]

_SCRATCH_BYTES = 192
"""Of a variant: its line of a piece and its effect on the embedding."""
_ROW_BYTES = 700
"""Of a variant in the table of variants, which is held whole while it is written."""
_SHARD_COPIES = 3
"""Of a shard while it is computed, encoded and compressed."""
_FLOAT_BYTES = 4


def variants_plan(
    model: str,
    vcf: str,
    genome: str,
    out: str,
    *,
    group_by: str | None,
    both_strands: bool,
    dense: bool,
    max_allele_bp: int,
    pool: Workers,
) -> Plan:
    """Plan evaluating variants; reads the whole VCF and refuses what `variants` would refuse."""
    from atlasbasset.inference.model import trunk_config
    from atlasbasset.verbs.variants.stages import effect_tables
    from atlasbasset.verbs.variants.variants import check_variants
    from atlasstore.models.model_store import ModelStore
    from atlasstore.resume.ledger import refuse_taken

    refuse_taken(out)
    store = ModelStore.open(model)
    store.newest()
    for url in (model, genome, out):
        pool.reachable(url)
    trunk = trunk_config(store)
    check_variants(vcf, genome, window_bp=trunk.window_bp, max_allele_bp=max_allele_bp)
    n_groups = _n_groups(store, group_by)
    counts = _counts(vcf, genome, max_allele_bp)
    n_variants = sum(counts.values())
    tables = effect_tables(n_variants, width=trunk.embedding_dim, n_groups=n_groups, dense=dense)
    n_bytes = sum(table.n_bytes for table in tables.values())
    memory = _memory(store, trunk, n_groups, tables)
    n_windows = counts["ok"] * 2 * (1 + both_strands)
    rows = [
        *_status_rows(counts),
        ("columns", f"{count(n_groups)} {'cells' if group_by is None else 'groups'}"),
        ("windows", f"{count(n_windows)} of {count(trunk.window_bp)} bp at most"),
        ("tables", f"{size(n_bytes)} in {count(sum(t.n_shards for t in tables.values()))} shards"),
        ("scratch", f"about {size(n_variants * _SCRATCH_BYTES)}"),
        ("memory", f"about {size(memory)} per worker beside the program"),
        ("table of variants", f"about {size(n_variants * _ROW_BYTES)} of memory, in this process"),
        ("workers", "this process" if not pool.count else f"{pool.count} Ray actors"),
    ]
    values = {
        "out": out,
        "n_variants": n_variants,
        "counts": counts,
        "n_groups": n_groups,
        "table_bytes": n_bytes,
        "memory_bytes": memory,
        "workers": pool.count,
    }
    return Plan(f"Would evaluate the variants of {vcf} into {out}", rows, values)


def _memory(
    store: ModelStore, trunk: TrunkConfig, n_groups: int, tables: Mapping[str, TablePlan]
) -> int:
    """Return what a worker holds at most beside the program, bytes."""
    from atlasbasset.verbs.variants.alleles import variant_bytes

    model, groups = (
        _FLOAT_BYTES * (trunk.embedding_dim + 1) * n for n in (int(store.n_cells), n_groups)
    )
    shard = max(
        table.n_bytes * min(table.shape[0], table.shard_rows) // table.shape[0]
        for table in tables.values()
    )
    return model + groups + max(variant_bytes(trunk), _SHARD_COPIES * shard)


def _n_groups(store: ModelStore, group_by: str | None) -> int:
    from atlasbasset.inference.groups import group_codes

    if group_by is None:
        return int(store.n_cells)
    return len(group_codes(store.obs, group_by, what=store.url)[0])


def _counts(vcf: str, genome: str, max_allele_bp: int) -> dict[str, int]:
    """Return status -> how many variants have it, or raise when none can be evaluated."""
    from atlasstore.genome.fasta import Genome
    from atlasstore.genome.variant_batches import count_variants
    from atlasstore.genome.variants import STATUSES, check_some_ok, read_vcf

    with Genome.open(genome) as opened:
        found = count_variants(read_vcf(vcf), opened, max_allele_bp=max_allele_bp)
        check_some_ok(found["counts"], found["unknown"], opened, url=vcf)
    return {name: found["counts"][name] for name in STATUSES if name in found["counts"]}


def _status_rows(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    total = sum(counts.values())
    rows = [("variants", f"{count(total)}, {count(counts['ok'])} with an effect")]
    left_out = [(name.replace("_", " "), count(n)) for name, n in counts.items() if name != "ok"]
    return [*rows, *left_out]


def variants_facts(report: VariantsReport) -> Lines:
    """Describe effects of variants."""
    columns = "cells" if report.group_by is None else f"groups by {report.group_by}"
    return [
        *_status_rows(report.counts),
        ("columns", f"{count(report.n_groups)} {columns}"),
        ("tables", size(report.table_bytes)),
    ]
