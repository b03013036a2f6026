"""`embed`: the cells of a model as AnnData."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.verbs.shared.depth import model_depth_correlation
from atlasbasset.verbs.shared.plan import PlannedModel
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.files.staging import refuse_existing, staged_path
from atlasstore.plans import Plan
from atlasstore.redaction import shown_values
from atlasstore.results.writer import write_anndata
from atlasstore.text_units import count, size
from atlasstore.zarrio import formats, tables
from atlasstore.zarrio.tidy import set_aside

if TYPE_CHECKING:
    from pathlib import Path

    import anndata

    from atlasbasset.inference.model import Model
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["EmbedPlan", "embed", "plan_embed"]

_INTERCEPT = "scbasset_intercept"


@dataclass(frozen=True, eq=False, repr=False)
class EmbedPlan(Plan["anndata.AnnData"]):
    """Checked input of `embed`, and its sizes; made by `plan_embed`."""

    model: PlannedModel
    out: str | None
    """None where the cells are returned alone."""

    @property
    def title(self) -> str:
        """What would be done."""
        return "Would embed the cells" + ("" if self.out is None else f" into {self.out}")

    def lines(self) -> Lines:
        """Return cells and bytes."""
        stored = ("stored", f"about {size(self.model.table_bytes)}")
        return [("cells", count(self.model.n_cells)), *([] if self.out is None else [stored])]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        stored = 0 if self.out is None else self.model.table_bytes
        return {"out": self.out, "n_cells": self.model.n_cells, "stored_bytes": stored}

    def _run(self, _on_event: Subscriber) -> anndata.AnnData:
        suffix = None if self.out is None else _checked_out(self.out)
        cells = _annotated(self.model.loaded)
        if self.out is not None and suffix is not None:
            _write(cells, self.out, suffix)
        return cells


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

    Examples
    --------
    >>> cells = embed("model.zarr")  # doctest: +SKIP
    >>> sc.pp.neighbors(cells, use_rep="X_scbasset", metric="cosine")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When `out` has another suffix.
    StoreExistsError
        When something exists at `out`.
    """
    return plan_embed(model, out=out).run()


def plan_embed(model: str | Path | Model, *, out: str | Path | None = None) -> EmbedPlan:
    """Plan `embed`: check its input and compute its sizes; nothing is written.

    Parameters are those of `embed`, and so are the errors that are raised.

    Examples
    --------
    >>> plan_embed("model.zarr", out="cells.h5ad").as_json()["stored_bytes"]  # doctest: +SKIP
    """
    planned = PlannedModel.of(model)
    if out is not None:
        _checked_out(out)
    return EmbedPlan(planned, None if out is None else str(out))


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
    with staged_path(urls.local_path(out)) as path:
        cells.write_h5ad(path)
