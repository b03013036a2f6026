"""`embed`: a model's embedding of the cells at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.inference.model import as_model
from atlasbasset.tl._match import UNS, rows_of_cells
from atlasbasset.verbs.embed.embed import embed as embed_cells
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from atlasbasset.inference.model import Model
    from atlasstore.events import Subscriber

__all__ = ["embed"]


def embed(adata: AnnData, model: str | Path | Model, *, on_event: Subscriber | None = None) -> None:
    """Write the cells' embeddings into an AnnData.

    Parameters
    ----------
    adata
        Cells of the model, all or some, in any order; any variables.
    model
        A model, or the path or URL of its store.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Returns
    -------
    None
        `adata` has then:

        ``obsm["X_scbasset"]``
            float32 (N, E): embedding of each cell.
        ``obs["scbasset_intercept"]``
            float32: its intercept.
        ``obsm["X_umap"]``, ...
            Maps that `atlasbasset.annotate` stored in the model, where `adata` has none.
        ``uns["scbasset"]``
            ``provenance`` (JSON text) and ``depth_correlation``.

    Examples
    --------
    >>> ab.tl.embed(adata, "model.zarr")  # doctest: +SKIP
    >>> sc.pp.neighbors(adata, use_rep="X_scbasset", metric="cosine")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        A cell of `adata` is not one of the model's, or a name stands twice.
    """
    opened = as_model(model)
    rows = rows_of_cells(adata, opened)
    found = embed_cells(opened, on_event=on_event)
    for key, values in found.obsm.items():
        if key == EMBEDDING or key not in adata.obsm:
            adata.obsm[key] = values[rows]
    adata.obs[INTERCEPT] = found.obs[INTERCEPT].to_numpy()[rows]
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), **found.uns[UNS]}
