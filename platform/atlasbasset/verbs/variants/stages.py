"""The stages of `variants`: the VCF read, its pieces embedded, the tables written.

The VCF is read once, by this process, and checked against the genome (`variant_pieces`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of, model_identity
from atlasbasset.verbs.variants.cell_table import CellTable
from atlasbasset.verbs.variants.work import (
    EmbedVariants,
    WriteEffects,
    create_embedded,
    variant_units,
)
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variant_batches import variants_table, write_pieces
from atlasstore.genome.variants import STATUSES, check_some_ok, read_vcf
from atlasstore.results.writer import create_result
from atlasstore.resume.units import Stage
from atlasstore.zarrio.names import EMBEDDING, SEQUENCE
from atlasstore.zarrio.table_plan import TablePlan, plan_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.core.compute import Compute
    from atlasbasset.inference.groups import CellGroups
    from atlasbasset.inference.model import Model, Scale
    from atlasstore.events import Subscriber

__all__ = ["VariantsStages", "effect_tables"]


def effect_tables(
    n_variants: int, *, width: int, n_groups: int, dense: bool
) -> dict[str, TablePlan]:
    """Return name -> plan of the result's big tables."""
    shapes = {f"obsm/{SEQUENCE}": width} | ({"X": n_groups} if dense else {})
    return {name: plan_table(name, (n_variants, n), "float32") for name, n in shapes.items()}


@dataclass(frozen=True, eq=False, slots=True)
class VariantsStages:
    """A job whose options have been checked."""

    model: Model
    vcf: str
    genome: str
    groups: CellGroups
    both_strands: bool
    dense: bool
    max_allele_bp: int
    scale: Scale
    workers: WorkerPool
    on_event: Subscriber
    told_later: Sequence[object] = ()
    """Told once the VCF has been read: it may be wrong, and then one sentence is told alone."""

    @property
    def inputs(self) -> list[str]:
        """What must stay as it is."""
        return [self.vcf, self.genome]

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for, JSON values."""
        return {
            "group_by": self.groups.key,
            "both_strands": self.both_strands,
            "dense": self.dense,
            "max_allele_bp": self.max_allele_bp,
            "scale": self.scale,
        }

    @property
    def config(self) -> dict[str, Any]:
        """What makes another run the same job, JSON values."""
        groups = self.groups
        digest = digest_of(groups.names, groups.embedding, groups.members, groups.n_cells)
        return {"model": model_identity(self.model), "groups": digest, **self.options}

    @property
    def identity(self) -> JobIdentity:
        """The same with the verb and its inputs."""
        return JobIdentity("variants", self.config, self.inputs)

    @property
    def _compute(self) -> Compute:
        return "bf16" if self.model.compute_dtype == torch.bfloat16 else "fp32"

    def tables(self, n_variants: int) -> dict[str, TablePlan]:
        """Return name -> plan of the result's big tables."""
        width = self.model.trunk.config.embedding_dim
        n_groups = len(self.groups)
        return effect_tables(n_variants, width=width, n_groups=n_groups, dense=self.dense)

    def run(self, job: ResumableJob) -> None:
        """Read, embed, write, publish."""
        pieces, embedded = urls.join(job.scratch, "pieces"), urls.join(job.scratch, "embedded")
        found = job.once("read", lambda: self._read(pieces))
        n_variants, counts = int(found["n"]), found["counts"]
        self._tell(n_variants, counts)
        tables = self.tables(n_variants)
        job.create(lambda: self._create(job.place, pieces, counts, tables))
        job.once("embedded", lambda: self._create_embedded(embedded, n_variants))
        work = EmbedVariants(
            model=ModelSource.of(self.model, self.workers),
            genome=self.workers.worker_url(self.genome),
            pieces=pieces,
            url=embedded,
            both_strands=self.both_strands,
        )
        stage = Stage("embedding variants", "variants")
        job.run("embed", variant_units(n_variants), work, stage=stage)
        for name, table in tables.items():
            units = [{"start": start, "stop": stop} for start, stop in table.shards()]
            scale = self.scale if name == "X" else None
            write = WriteEffects(embedded, job.place, table, scale)
            job.run(f"write-{name.rpartition('/')[2]}", units, write, stage=_writing(name))
        config = {"model": self.model.url, "compute": self._compute, **self.options}
        job.publish(config, {"model": self.model.store}, files=self.inputs)

    def _read(self, pieces: str) -> dict[str, Any]:
        with Genome.open(self.genome) as genome:
            found = write_pieces(
                pieces, read_vcf(self.vcf), genome, max_allele_bp=self.max_allele_bp
            )
            check_some_ok(found["counts"], found["unknown"], genome, url=self.vcf)
        return found

    def _create_embedded(self, url: str, n_variants: int) -> None:
        cells = CellTable.of(self.model, self.groups, self.scale)
        create_embedded(url, n_variants, cells, n_strands=1 + self.both_strands)

    def _create(
        self, place: str, pieces: str, counts: Mapping[str, int], tables: Mapping[str, TablePlan]
    ) -> None:
        about: dict[str, Any] = {"counts": dict(counts)}
        about |= {name: value for name, value in self.options.items() if value is not None}
        create_result(
            place,
            kind="variants",
            obs=variants_table(pieces, sum(counts.values())),
            var=self.groups.table(),
            obsm={},
            varm={EMBEDDING: self.groups.embedding},
            tables=list(tables.values()),
            about=about,
        )

    def _tell(self, n_variants: int, counts: Mapping[str, int]) -> None:
        """Say how many variants have no effect, and why, and which cells are in no group."""
        for event in self.told_later:
            self.on_event(event)
        if self.groups.notice:
            self.on_event(Notice(self.groups.notice))
        bad = [f"{counts[name]:,} {name}" for name in STATUSES[1:] if counts.get(name)]
        if bad:
            n_bad = n_variants - counts["ok"]
            self.on_event(
                Notice(
                    f"{n_bad:,} of {n_variants:,} variants are not evaluated ({', '.join(bad)}); "
                    "obs['status'] says which."
                )
            )
        if 2 * counts.get("reference_mismatch", 0) > n_variants:
            self.on_event(
                Notice(
                    "Most reference alleles are not the genome's; with another assembly than the "
                    "VCF's, 3 in 4 would not be: make sure that it is the right one."
                )
            )


def _writing(name: str) -> Stage:
    return Stage("writing effects" if name == "X" else "writing embeddings", "variants")
