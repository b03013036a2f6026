"""``atlasbasset embed``: a model's cells as AnnData."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from atlasjobs.options.common import (
    Config,
    CpusPerWorker,
    Debug,
    DryRun,
    GpusPerWorker,
    Json,
    ModelUrl,
    Workers,
)

if TYPE_CHECKING:
    from anndata import AnnData

    from atlasstore.models.model_store import ModelStore

__all__ = ["embed"]

Out = Annotated[
    str, typer.Option("--out", metavar="FILE", help="cells.h5ad, or a path or URL in .zarr.")
]
Variables = Annotated[
    Literal["none", "peaks", "genes"],
    typer.Option(help="Columns: none, peaks with their labels, or genes with predictions."),
]
Atlas = Annotated[
    str | None, typer.Option(metavar="ATLAS", help="Path or URL of the atlas with the peaks.")
]
Genes = Annotated[
    str | None,
    typer.Option("--genes", metavar="GTF", help="Genes: the mean of peaks within 2 kb of a TSS."),
]


def embed(
    model: ModelUrl,
    *,
    out: Out,
    variables: Variables = "none",
    atlas: Atlas = None,
    genes: Genes = None,
    workers: Workers = 0,
    gpus_per_worker: GpusPerWorker = 0,
    cpus_per_worker: CpusPerWorker = 1,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> dict[str, str | None] | None:
    """Write the cells: obsm X_scbasset (32 numbers each), peaks or genes as columns if asked."""
    from atlasbasset import plan_embed
    from atlasjobs.output.console import Output

    output = Output(json)
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
    cells = output.carry_out(plan, dry_run=dry_run)
    if cells is None:
        return None
    values = _summary(cells, out)
    correlation = values["depth_correlation"]
    rows = [
        ("cells", f"{values['n_cells']:,} x {values['embedding_dim']} in obsm X_scbasset"),
        ("intercept", "obs scbasset_intercept"),
        *([("variables", f"{cells.n_vars:,} {variables}")] if cells.n_vars else []),
        ("neighbour graph", 'sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")'),
        ("r with log10 depth", "unknown" if correlation is None else f"{correlation:.3f}"),
    ]
    output.facts(f"Embedded the cells into {out}", rows)
    output.json(values)
    return {"atlas": _atlas_of(plan.model.store)}  # for the next command


def _atlas_of(store: "ModelStore") -> str | None:
    """Return the atlas that a model was made from, where it is still there."""
    from atlasstore.files import urls

    config = store.provenance.get("config") or {}
    recorded = config.get("atlas") if isinstance(config, dict) else None
    if not isinstance(recorded, str) or (urls.is_local(recorded) and not urls.exists(recorded)):
        return None
    return recorded


def _summary(cells: "AnnData", out: str) -> dict[str, Any]:
    found = cells.uns["scbasset"].get("depth_correlation")
    return {
        "out": str(out),
        "n_cells": cells.n_obs,
        "n_vars": cells.n_vars,
        "embedding_dim": cells.obsm["X_scbasset"].shape[1],
        "depth_correlation": None if found is None else float(found),
    }
