"""`ism`: in-silico saturation mutagenesis of regions (docs/method.md, "ISM").

Every base at every position of a region is tried, and what it does to the region's embedding kept:
accessibility is linear in it, so this compact form gives the scores of any cell, and those of
groups of cells are also written out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.ism.plan import IsmPlan, plan_ism
from atlasbasset.verbs.ism.report import IsmReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["IsmPlan", "IsmReport", "ism", "plan_ism"]


def ism(
    model: str | Path | Model,
    *,
    out: str | Path,
    genome: str | Path | None = None,
    regions: str | Path | None = None,
    atlas: str | Path | Atlas | None = None,
    peaks: Sequence[str] | None = None,
    span: int | None = None,
    group_by: str | None = None,
    obs: Obs | None = None,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0,
    on_event: Subscriber | None = None,
) -> IsmReport:
    """Mutate regions in silico, exactly, at the cost of about a tenth of full passes.

    For each position of a region's window, or of its centre, each of the three other bases is put
    there; the score of a base is the change of accessibility (linear scale), less the mean over
    the four bases, so that they sum to zero. A position's importance is the score of its own base.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    out
        URL of the result: an AnnData zarr of regions x groups of cells (or x cells), which
        `atlasstore.results.ism_result.IsmResult` reads. What a killed run has done is kept beside
        it, and the same call goes on from there.
    genome, regions
        Paths or URLs of the FASTA and of a BED file of regions on it (0-based half-open).
        Where its sixth column has strands, a region on - is read as its reverse complement, and
        its bases and scores are in that orientation.
    atlas, peaks
        Instead: an atlas or its URL, and names of its peaks, whose sequences it holds.
    span
        Central bp of each window that are mutated; the whole window by default.
    group_by
        Column of the model's obs; scores are written for each of its values, as means over the
        cells; cells without one are left out. By default the result has a column per cell and
        holds the compact form alone.
    obs
        Table of cells that has the column `group_by`, made after the model: a CSV, TSV or AnnData
        at a path or URL, or a pandas table; matched by the cells' names.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own.
    convolution
        How float32 convolutions on CPU are computed: "direct", "minimal" (fewer multiplications),
        or "auto", what is faster on this machine.
    workers
        Ray Data actors that share the regions; 0 works in this process.
    cpus_per_worker, gpus_per_worker
        What each worker reserves.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> ism(
    ...     "model.zarr",
    ...     out="ism.zarr",
    ...     genome="genome.fa",
    ...     regions="enhancers.bed",
    ...     group_by="cell_type",
    ... )  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When options do not fit one another or the model, or the workers cannot be had or cannot
        reach what they need; a `PeaksError` or `GenomeError` when
        regions do not fit the genome or atlas.
    StoreExistsError
        When something other than this job's work exists at `out`.
    """
    plan = plan_ism(
        model,
        out=out,
        genome=genome,
        regions=regions,
        atlas=atlas,
        peaks=peaks,
        span=span,
        group_by=group_by,
        obs=obs,
        compute=compute,
        convolution=convolution,
        workers=workers,
        cpus_per_worker=cpus_per_worker,
        gpus_per_worker=gpus_per_worker,
    )
    return plan.run(on_event=on_event)
