"""`variants`: what the variants of a VCF do to accessibility in every cell, or group of cells.

The effect of an alternate allele is ``(h_alternate - h_reference) . w`` on the linear scale, h
being the embedding of the window with either allele: 32 numbers say what a variant does in any
cell.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import JobIdentity, run_job
from atlasbasset.inference.groups import cell_groups
from atlasbasset.inference.model import Model, Scale, as_model, check_scale
from atlasbasset.verbs.variants.stages import VariantsStages
from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.genome.fasta import Genome
from atlasstore.genome.variants import STATUSES, read_vcf
from atlasstore.results.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from atlasbasset.core.compute import Compute
    from atlasbasset.inference.cell_labels import Obs
    from atlasstore.events import Subscriber

__all__ = ["VariantsReport", "check_variant_scale", "check_variants", "variants"]

_WINDOWS_PER_ALLELE = 4


@dataclass(frozen=True, slots=True)
class VariantsReport:
    """What was written."""

    result: str
    """URL of the result."""
    counts: Mapping[str, int]
    """Status -> variants that have it; "ok" are those with an effect."""
    group_by: str | None
    n_groups: int
    """Groups of cells, or cells where they were not grouped."""
    table_bytes: int
    """Size of the tables before compression."""
    was_finished: bool
    """Whether the same job had made it before, and nothing was done."""

    @property
    def n_variants(self) -> int:
        """Alternate alleles in the VCF."""
        return sum(self.counts.values())

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"n_variants": self.n_variants, **asdict(self)}


def variants(
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
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber = ignore,
) -> VariantsReport:
    """Predict what variants do to accessibility: ``(h_alternate - h_reference) . w``.

    Substitutions of any length and short insertions and deletions, one row for each alternate
    allele, in the VCF's order. Both windows are centred on what changes (docs/variants.md).

    Parameters
    ----------
    model
        A model, or the URL of its store. Of a batch-corrected one the cells' own embeddings count.
    vcf
        Path or URL of a VCF, plain, gzip or bgzip, in any order.
    genome
        Path of the FASTA it was called on, plain or bgzip.
    out
        URL of the result: an AnnData zarr of variants x groups (or cells). ``X`` is the effect,
        ``obsm["scbasset_sequence"]`` the change of the embedding, ``obs["status"]`` whether there
        is one (NaN where not "ok": see `atlasstore.genome.variants.variant_statuses`).
    group_by
        Column of the model's obs: effects are means over its values' cells; cells without one are
        left out. By default every cell has a column.
    obs
        Table of cells that has the column `group_by`, made after the model: a CSV, TSV or AnnData
        at a path or URL, or a pandas table; matched by the cells' names.
    both_strands
        Take the mean of the effects on the window and on its reverse complement, at twice the cost.
    scale
        Of ``X``: "linear"; "sigmoid", the change of its sigmoid; or "probability", the change of
        the chance of a fragment at the cell's depth and in its batch (as `Model.predict`). The
        latter two are computed in each cell, and are means over a group's cells.
    dense
        Whether ``X`` is written; the factored form always is.
    max_allele_bp
        Longest stretch of bases, removed or put there, that is evaluated, bp.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own. "bf16" moves
        effects by 2 to 3 % of their standard deviation.
    workers
        Ray Data actors that share the variants; 0 works in this process.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker computes on its GPU if it has one.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When the VCF cannot be read or none of its variants can be evaluated, an option does not
        fit, or the workers cannot be had or cannot reach what they need.
    GenomeError
        When the genome cannot be read, or is another than the VCF's: no variant fits it.
    StoreExistsError
        When anything but this very job's work lies at `out`.
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    loaded = as_model(model, compute=compute)
    check_variants(vcf, genome, window_bp=loaded.window_bp, max_allele_bp=max_allele_bp)
    for url in (loaded.url, genome, out):
        pool.worker_url(url)
    check_variant_scale(scale, dense=dense)
    groups = cell_groups(loaded, group_by, obs=obs)
    work = VariantsStages(
        model=loaded,
        vcf=str(vcf),
        genome=str(genome),
        groups=groups,
        both_strands=both_strands,
        dense=dense,
        max_allele_bp=max_allele_bp,
        scale=scale,
        workers=pool,
        on_event=on_event,
    )
    identity = JobIdentity("variants", work.config, work.inputs)
    was_finished = run_job(out, work.run, identity=identity, pool=pool, on_event=on_event)
    stored = Result.open(out).about["counts"]
    counts: dict[str, int] = {name: int(stored[name]) for name in STATUSES if name in stored}
    tables = work.tables(sum(counts.values()))
    return VariantsReport(
        result=str(out),
        counts=counts,
        group_by=group_by,
        n_groups=len(groups),
        table_bytes=sum(table.n_bytes for table in tables.values()),
        was_finished=was_finished,
    )


def check_variant_scale(scale: str, *, dense: bool) -> None:
    """Raise what `variants` raises of a scale."""
    check_scale(scale)
    if scale != "linear" and not dense:
        raise UserInputError(
            f"the factored form is linear, so without X there is nothing on the scale {scale}; "
            "leave out one of the two options."
        )


def check_variants(
    vcf: str | Path, genome: str | Path, *, window_bp: int, max_allele_bp: int
) -> None:
    """Raise what `variants` raises of its options, the VCF's first record and the genome."""
    most = window_bp // _WINDOWS_PER_ALLELE
    if not 1 <= max_allele_bp <= most:
        raise UserInputError(
            f"max_allele_bp must be 1 to {most} (a quarter of the model's window), got "
            f"{max_allele_bp}."
        )
    Genome.open(genome).close()
    next(read_vcf(vcf), None)
