"""``atlasbasset embed``: a model's cells as AnnData."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from atlasjobs.options.common import Config, Debug, DryRun, Json, ModelUrl

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["embed"]

Out = Annotated[
    str, typer.Option("--out", metavar="FILE", help="cells.h5ad, or a path or URL in .zarr.")
]


def embed(
    model: ModelUrl,
    *,
    out: Out,
    dry_run: DryRun = False,
    json: Json = None,
    config: Config = None,
    debug: Debug = False,
) -> None:
    """Write the cells: obsm X_scbasset (32 numbers each), obs scbasset_intercept."""
    from atlasbasset import plan_embed
    from atlasjobs.output.console import Output

    output = Output(json)
    cells = output.carry_out(plan_embed(model, out=out), dry_run=dry_run)
    if cells is None:
        return
    values = _summary(cells, out)
    correlation = values["depth_correlation"]
    rows = [
        ("cells", f"{values['n_cells']:,} x {values['embedding_dim']} in obsm X_scbasset"),
        ("intercept", "obs scbasset_intercept"),
        ("neighbour graph", 'sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")'),
        ("r with log10 depth", "unknown" if correlation is None else f"{correlation:.3f}"),
    ]
    output.facts(f"Embedded the cells into {out}", rows)
    output.line(f"Next: atlasbasset report {model} ATLAS --out report.html")
    output.json(values)


def _summary(cells: "AnnData", out: str) -> dict[str, Any]:
    found = cells.uns["scbasset"].get("depth_correlation")
    return {
        "out": str(out),
        "n_cells": cells.n_obs,
        "embedding_dim": cells.obsm["X_scbasset"].shape[1],
        "depth_correlation": None if found is None else float(found),
    }
