"""The plan of `variants`: what is read, written and held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.inference.cell_labels import opened_table
from atlasbasset.inference.groups import cell_groups, group_labels
from atlasbasset.inference.model import check_scale
from atlasbasset.verbs.shared.plan import (
    FLOAT_BYTES,
    PlannedModel,
    finished_line,
    is_finished,
    notice_lines,
    worker_count,
)
from atlasbasset.verbs.variants.alleles import variant_bytes
from atlasbasset.verbs.variants.report import VariantsReport
from atlasbasset.verbs.variants.stages import VariantsStages, effect_tables
from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variant_batches import count_variants
from atlasstore.genome.variants import STATUSES, check_some_ok, read_vcf
from atlasstore.plans import Plan
from atlasstore.results.result import Result
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model, Scale
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = ["VariantsPlan", "plan_variants", "status_lines"]

_WINDOWS_PER_ALLELE = 4
_LINE_BYTES = 64
"""Of a variant: its line of a piece."""
_ROW_BYTES = 700
"""Of a variant in the table of variants, which is held whole while it is written."""
_SHARD_COPIES = 3
"""Of a shard while it is computed, encoded and compressed."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class VariantsPlan(Plan[VariantsReport]):
    """Checked input of `variants`, and its sizes; made by `plan_variants`.

    The sizes need the number of variants: `lines` and `as_json` read the whole VCF, once.
    """

    model: PlannedModel
    vcf: str
    genome: str
    out: str
    group_by: str | None
    n_groups: int
    """Groups of cells, or cells."""
    notice: str | None
    """A sentence on cells that are in no group, if any."""
    cell_table: pd.DataFrame | None
    """Made after the model; may have the column that makes the groups."""
    both_strands: bool
    scale: Scale
    dense: bool
    max_allele_bp: int
    workers: WorkerPool

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would evaluate the variants of {self.vcf} into {self.out}"

    def _stages(self, on_event: Subscriber, told_later: Sequence[object] = ()) -> VariantsStages:
        return VariantsStages(
            model=self.model.loaded,
            vcf=self.vcf,
            genome=self.genome,
            groups=cell_groups(self.model.loaded, self.group_by, obs=self.cell_table),
            both_strands=self.both_strands,
            dense=self.dense,
            max_allele_bp=self.max_allele_bp,
            scale=self.scale,
            workers=self.workers,
            on_event=on_event,
            told_later=told_later,
        )

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the result already."""
        return is_finished(self.out, lambda: self._stages(ignore).identity)

    @cached_property
    def counts(self) -> dict[str, int]:
        """Status -> how many variants have it; the VCF is read whole.

        Raises
        ------
        UserInputError
            When none can be evaluated.
        """
        with Genome.open(self.genome) as genome:
            found = count_variants(read_vcf(self.vcf), genome, max_allele_bp=self.max_allele_bp)
            check_some_ok(found["counts"], found["unknown"], genome, url=self.vcf)
        return _in_order(found["counts"])

    @property
    def n_variants(self) -> int:
        """Alternate alleles in the VCF."""
        return sum(self.counts.values())

    def tables(self, n_variants: int) -> dict[str, TablePlan]:
        """Return name -> how a big table of the result is cut."""
        width = self.model.trunk.embedding_dim
        return effect_tables(n_variants, width=width, n_groups=self.n_groups, dense=self.dense)

    def table_bytes(self, n_variants: int) -> int:
        """Return the size of the tables before compression."""
        return sum(table.n_bytes for table in self.tables(n_variants).values())

    @property
    def scratch_bytes(self) -> int:
        """Of variants' lines and the embeddings of both alleles, kept beside the result."""
        n_embedded = 2 * (1 + self.both_strands)
        embedded = n_embedded * self.model.trunk.embedding_dim * FLOAT_BYTES
        return self.n_variants * (_LINE_BYTES + embedded)

    @property
    def memory_bytes(self) -> int:
        """What a worker holds at most in addition to the program."""
        shard = max(
            table.n_bytes * min(table.shape[0], table.shard_rows) // table.shape[0]
            for table in self.tables(self.n_variants).values()
        )
        groups = FLOAT_BYTES * (self.model.trunk.embedding_dim + 1) * self.n_groups
        working = max(variant_bytes(self.model.trunk), _SHARD_COPIES * shard)
        return self.model.table_bytes + groups + working

    def lines(self) -> Lines:
        """Return variants by status, windows, bytes, memory and workers."""
        n, window_bp = self.n_variants, self.model.trunk.window_bp
        n_windows = self.counts["ok"] * 2 * (1 + self.both_strands)
        n_shards = sum(table.n_shards for table in self.tables(n).values())
        columns = "cells" if self.group_by is None else "groups"
        return [
            *status_lines(self.counts),
            ("columns", f"{count(self.n_groups)} {columns}"),
            *notice_lines("left out", self.notice),
            ("scale", self.scale),
            ("windows", f"{count(n_windows)} of {count(window_bp)} bp at most"),
            ("tables", f"{size(self.table_bytes(n))} in {count(n_shards)} shards"),
            ("scratch", f"about {size(self.scratch_bytes)}"),
            ("memory", f"about {size(self.memory_bytes)} per worker plus the program"),
            ("table of variants", f"about {size(n * _ROW_BYTES)} of memory, in this process"),
            ("arithmetic", self.model.arithmetic),
            ("workers", worker_count(self.workers)),
            *finished_line(is_finished=self.is_finished),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_variants": self.n_variants,
            "counts": self.counts,
            "n_groups": self.n_groups,
            "table_bytes": self.table_bytes(self.n_variants),
            "memory_bytes": self.memory_bytes,
            "workers": self.workers.count,
        }

    def _run(self, on_event: Subscriber) -> VariantsReport:
        arithmetic: list[object] = []
        if not self.is_finished:
            self.model.tell_arithmetic(arithmetic.append)
        work = self._stages(on_event, arithmetic)
        was_finished = run_job(
            self.out, work.run, identity=work.identity, pool=self.workers, on_event=on_event
        )
        counts = _in_order(Result.open(self.out).about["counts"])
        return VariantsReport(
            result=self.out,
            counts=counts,
            group_by=self.group_by,
            n_groups=self.n_groups,
            table_bytes=self.table_bytes(sum(counts.values())),
            was_finished=was_finished,
        )


def plan_variants(
    model: str | Path | Model,
    *,
    vcf: str | Path,
    genome: str | Path,
    out: str | Path,
    group_by: str | None = None,
    obs: Obs | None = None,
    both_strands: bool = False,
    scale: Scale = "linear",
    dense: bool = True,
    max_allele_bp: int = 50,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
) -> VariantsPlan:
    """Plan `variants`: check its input and compute its sizes; nothing is written.

    Parameters are those of `variants`, and so are the errors that are raised; whether any variant
    can be evaluated is known when the sizes are first asked for.

    Examples
    --------
    >>> plan = plan_variants(
    ...     "model.zarr", vcf="gwas.vcf.gz", genome="genome.fa", out="effects.zarr"
    ... )  # doctest: +SKIP
    >>> plan.counts  # doctest: +SKIP
    {'ok': 8112, 'symbolic': 3}
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    _check(vcf, genome, window_bp=planned.trunk.window_bp, max_allele_bp=max_allele_bp)
    for url in (planned.url, genome, out):
        pool.worker_url(url)
    _check_scale(scale, dense=dense)
    table = None if obs is None else opened_table(obs)
    labels = group_labels(planned.store.obs, group_by, obs=table, what=planned.url)
    plan = VariantsPlan(
        model=planned,
        vcf=str(vcf),
        genome=str(genome),
        out=str(out),
        group_by=group_by,
        n_groups=planned.n_cells if labels is None else len(labels.names),
        notice=None if labels is None else labels.notice(),
        cell_table=table,
        both_strands=both_strands,
        scale=scale,
        dense=dense,
        max_allele_bp=max_allele_bp,
        workers=pool,
    )
    _ = plan.is_finished  # refuses an output that is taken
    return plan


def _check(vcf: str | Path, genome: str | Path, *, window_bp: int, max_allele_bp: int) -> None:
    """Raise what `variants` raises of its options, the VCF's first record and the genome."""
    most = window_bp // _WINDOWS_PER_ALLELE
    if not 1 <= max_allele_bp <= most:
        raise UserInputError(
            f"max_allele_bp must be 1 to {most} (a quarter of the model's window), got "
            f"{max_allele_bp}."
        )
    Genome.open(genome).close()
    next(read_vcf(vcf), None)


def _check_scale(scale: str, *, dense: bool) -> None:
    check_scale(scale)
    if scale != "linear" and not dense:
        raise UserInputError(
            f"the factored form is linear, so without X there is nothing on the scale {scale}; "
            "leave out one of the two options."
        )


def _in_order(counts: Mapping[str, Any]) -> dict[str, int]:
    return {name: int(counts[name]) for name in STATUSES if name in counts}


def status_lines(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return how many variants there are, and how many are left out for which reason."""
    total = sum(counts.values())
    left_out = [(name.replace("_", " "), count(n)) for name, n in counts.items() if name != "ok"]
    return [("variants", f"{count(total)}, {count(counts['ok'])} with an effect"), *left_out]
