"""`variants`: what the variants of a VCF do to accessibility in every cell, or group of cells.

The effect of an alternate allele is ``(h_alternate - h_reference) . w`` on the linear scale, h
being the embedding of the window with either allele: 32 numbers say what a variant does in any
cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.variants.plan import VariantsPlan, plan_variants
from atlasbasset.verbs.variants.report import VariantsReport

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model, Scale
    from atlasstore.events import Subscriber

__all__ = ["VariantsPlan", "VariantsReport", "plan_variants", "variants"]


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
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
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
        Path or URL of the FASTA it was called on, plain or bgzip.
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
    convolution
        How float32 convolutions on CPU are computed: "direct", "minimal" (fewer multiplications),
        or "auto", what is faster on this machine.
    workers
        Ray Data actors that share the variants; 0 works in this process.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker computes on its GPU if it has one.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> report = variants(
    ...     "model.zarr", vcf="gwas.vcf.gz", genome="genome.fa", out="effects.zarr"
    ... )  # doctest: +SKIP
    >>> report.counts["ok"]  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When the VCF cannot be read or none of its variants can be evaluated, an option does not
        fit, or the workers cannot be had or cannot reach what they need.
    GenomeError
        When the genome cannot be read, or is another than the VCF's: no variant fits it.
    StoreExistsError
        When something other than this job's work exists at `out`.
    """
    plan = plan_variants(
        model,
        vcf=vcf,
        genome=genome,
        out=out,
        group_by=group_by,
        obs=obs,
        both_strands=both_strands,
        scale=scale,
        dense=dense,
        max_allele_bp=max_allele_bp,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
