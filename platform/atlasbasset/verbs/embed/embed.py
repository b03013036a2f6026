"""`embed`: the cells of a model as AnnData, with peaks or genes as variables where asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.embed.plan import EmbedPlan, plan_embed

if TYPE_CHECKING:
    from pathlib import Path

    import anndata

    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.embed.variables import Variables
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["EmbedPlan", "embed", "plan_embed"]


def embed(
    model: str | Path | Model,
    *,
    out: str | Path | None = None,
    variables: Variables = "none",
    atlas: str | Path | Atlas | None = None,
    genes: str | Path | None = None,
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> anndata.AnnData:
    """Return a model's cells: embedding, intercept and their table.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    out
        Where to write the result as well: ``.h5ad`` (a local path) or ``.zarr`` (a path or URL).
    variables
        "none"; "peaks": X is the atlas's labels, float32 CSR, 1 where a peak is open; "genes": X is
        the accessibility that the model predicts for each gene, float32 in 0..1, the mean over its
        peaks of ``sigmoid(h . W)`` (`denoise` with `genes` has other scales, and sizes beyond
        memory).
    atlas
        The atlas with the peaks, or its URL; needed for variables. For "peaks" its cells are the
        model's.
    genes
        A GTF or GFF3 file, for "genes"; a gene's peaks are those within 2 kb of its TSS.
    workers, gpus_per_worker, cpus_per_worker
        Ray Data actors that predict "genes", and what each reserves; 0 workers: this process.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Returns
    -------
    anndata.AnnData
        N cells x variables: ``obsm["X_scbasset"]`` float32 (N, E), the maps that `annotate` stored
        (``obsm["X_umap"]``, ...), of cells that `map_cells` solved with standard errors
        ``obsm["scbasset_standard_error"]`` float32 (N, E), ``obs["scbasset_intercept"]`` float32
        beside the model's own `obs`, and ``uns["scbasset"]``: ``X`` (what X is),
        ``depth_correlation`` (Pearson's r of the intercept and log10 of ``obs["n_peaks"]``; paper,
        Supplementary Fig. 4) where it can be had, and ``provenance`` (JSON text). `var` is the
        atlas's, or genes by name with ``gene_id``, ``chrom``, ``tss``, ``strand``, ``n_peaks``.

    Examples
    --------
    >>> cells = embed("model.zarr")  # doctest: +SKIP
    >>> sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")  # doctest: +SKIP
    >>> cells = embed(
    ...     "model.zarr", variables="genes", atlas="atlas.zarr", genes="genes.gtf.gz"
    ... )  # doctest: +SKIP
    >>> sc.tl.rank_genes_groups(cells, "leiden", method="wilcoxon")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When `out` has another suffix, or what the variables need is absent or does not fit.
    TooLittleMemoryError
        X is larger than the memory that is free.
    StoreExistsError
        When something exists at `out`.
    """
    plan = plan_embed(
        model,
        out=out,
        variables=variables,
        atlas=atlas,
        genes=genes,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
