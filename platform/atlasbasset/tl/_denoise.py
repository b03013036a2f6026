"""`denoise`: predicted accessibility as a layer of the AnnData at hand."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import anndata

from atlasbasset.inference.model import as_model
from atlasbasset.tl._match import note_origin, rows_of_cells, rows_of_peaks, sequence_atlas
from atlasbasset.verbs.denoise.denoise import denoise as denoise_cells
from atlasstore import memory
from atlasstore.errors import TooLittleMemoryError
from atlasstore.files import urls
from atlasstore.results.as_anndata import predicted

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.inference.model import Model, Scale
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["denoise"]

_FLOAT_BYTES = 4


def denoise(
    adata: anndata.AnnData,
    model: str | Path | Model,
    *,
    layer: str = "denoised",
    genome: str | Path | None = None,
    atlas: str | Path | Atlas | None = None,
    scale: Scale = "linear",
    on_event: Subscriber | None = None,
    **options: Any,
) -> None:
    """Write the predicted accessibility of an AnnData's peaks in its cells, as a layer.

    Parameters
    ----------
    adata
        Cells of the model x peaks, all or some, in any order. A model predicts any peaks, also
        others than it was trained on. Take fewer first where all are too many:
        ``adata[:, adata.var["highly_variable"]].copy()``.
    model
        A model, or the path or URL of its store.
    layer
        Name of the layer.
    genome
        FASTA that the peaks' sequences are read from.
    atlas
        The atlas with the peaks, in place of `genome`. Only so do the deviations of a model's own
        peaks count (`atlasbasset.denoise`).
    scale
        "linear" (``h . W``, sequencing depth left out), "sigmoid" of that, or "probability":
        sigmoid(``h . W + b``).
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.
    **options
        ``sequence_only``, ``compute``, ``convolution``, ``workers``, ... of `atlasbasset.denoise`.

    Returns
    -------
    None
        `adata` has then:

        ``layers[layer]``
            float32 (N, peaks).
        ``uns["scbasset"][layer]``
            ``scale`` and ``provenance`` (JSON text).

    Examples
    --------
    >>> ab.tl.denoise(adata, "model.zarr", atlas="atlas.zarr", layer="denoised")  # doctest: +SKIP
    >>> sc.pl.heatmap(adata, peaks, groupby="leiden", layer="denoised")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        Cells, peaks or options do not fit.
    TooLittleMemoryError
        The layer is larger than the memory that is free.
    """
    opened = as_model(model)
    rows_of_cells(adata, opened)
    _check_memory(adata)
    with tempfile.TemporaryDirectory() as folder:
        source = sequence_atlas(
            adata, opened, folder, atlas=atlas, genome=genome, on_event=on_event
        )
        out = urls.join(folder, "denoised.zarr")
        denoise_cells(
            opened,
            source,
            out=out,
            peaks=list(source.var.index[rows_of_peaks(adata, source)]),
            cells=list(adata.obs_names),
            scale=scale,
            dense=False,
            on_event=on_event,
            **options,
        )
        found = anndata.read_zarr(out)
    adata.layers[layer] = predicted(found)
    note_origin(adata, layer, dict(found.uns["scbasset"]))


def _check_memory(adata: anndata.AnnData) -> None:
    needed, free = _FLOAT_BYTES * adata.n_obs * adata.n_vars, memory.free_bytes()
    if needed > free:
        raise TooLittleMemoryError(
            f"a layer of {adata.n_obs:,} cells x {adata.n_vars:,} peaks takes {needed / 1e9:,.1f} "
            f"GB, and {free / 1e9:,.1f} GB are free; take fewer peaks or cells first, or write a "
            "store with atlasbasset.denoise."
        )
