"""`embed`: the cells of a model as AnnData."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from atlasbasset.inference.model import Model, as_model
from atlasbasset.verbs.shared.depth import model_depth_correlation
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing
from atlasstore.redaction import shown_values
from atlasstore.results.writer import write_anndata
from atlasstore.zarrio import formats, tables
from atlasstore.zarrio.tidy import set_aside

if TYPE_CHECKING:
    from pathlib import Path

    import anndata

__all__ = ["embed"]

_INTERCEPT = "scbasset_intercept"


def embed(model: str | Path | Model, *, out: str | Path | None = None) -> anndata.AnnData:
    """Return a model's cells: embedding, intercept and their table.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    out
        Where to write the result as well: ``.h5ad`` (a local path) or ``.zarr`` (a path or URL).

    Returns
    -------
    anndata.AnnData
        N cells x 0 variables: ``obsm["X_scbasset"]`` float32 (N, E), ``obs["scbasset_intercept"]``
        float32 beside the model's own `obs`, and ``uns["scbasset"]``: ``depth_correlation``
        (Pearson's r of the intercept and log10 of ``obs["n_peaks"]``; paper, Supplementary Fig. 4)
        where it can be had, and ``provenance`` (JSON text).

    Raises
    ------
    UserInputError
        When `out` has another suffix.
    StoreExistsError
        When anything lies at `out`.
    """
    suffix = None if out is None else _checked_out(out)
    cells = _annotated(as_model(model))
    if out is not None and suffix is not None:
        _write(cells, out, suffix)
    return cells


def _annotated(model: Model) -> anndata.AnnData:
    import anndata

    about: dict[str, Any] = {"provenance": json.dumps(shown_values(_provenance(model)))}
    if (correlation := model_depth_correlation(model)) is not None:
        about["depth_correlation"] = correlation
    own = set_aside(tables.tidy(model.obs).named, _INTERCEPT)
    obs = own.assign(**{_INTERCEPT: model.intercept})
    obsm = {"X_scbasset": model.cell_embedding}
    return anndata.AnnData(obs=obs, obsm=obsm, uns={"scbasset": about})


def _provenance(model: Model) -> dict[str, Any]:
    made = formats.provenance([], {"model": model.url}, None)
    return {**made, "model": dict(model.store.provenance)}


def _checked_out(out: str | Path) -> str:
    suffix = next((s for s in (".h5ad", ".zarr") if str(out).rstrip("/").endswith(s)), None)
    if suffix is None:
        raise UserInputError(f"{out} ends in neither .h5ad nor .zarr; give one of the two.")
    if suffix == ".h5ad" and not urls.is_local(out):
        raise UserInputError(f"{out} is not a local path; .h5ad is written locally, use .zarr.")
    refuse_existing(out)
    return suffix


def _write(cells: anndata.AnnData, out: str | Path, suffix: str) -> None:
    import anndata

    if suffix == ".zarr":
        obs = tables.tidy(cells.obs).table  # anndata writes names as they are
        write_anndata(anndata.AnnData(obs=obs, obsm=dict(cells.obsm), uns=cells.uns), out)
        return
    target = urls.local_path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        cells.write_h5ad(partial)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
