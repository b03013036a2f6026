"""`motif_activity`: TF activity of the cells at hand."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pandas as pd

from atlasbasset.inference.model import as_model
from atlasbasset.tl._match import note_origin, rows_of_cells, sequence_atlas
from atlasbasset.verbs.motifs.motifs import motif_activity as score_motifs
from atlasstore.files import urls
from atlasstore.results.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif

__all__ = ["motif_activity"]


def motif_activity(
    adata: AnnData,
    model: str | Path | Model,
    motifs: str | Path | Sequence[Motif],
    genome: str | Path | None = None,
    *,
    atlas: str | Path | Atlas | None = None,
    key: str = "tf_activity",
    on_event: Subscriber | None = None,
    **options: Any,
) -> None:
    """Write the activity of every TF in every cell into an AnnData, by motif insertion.

    Parameters
    ----------
    adata
        Cells of the model, all or some, in any order.
    model
        A model, or the path or URL of its store.
    motifs
        A MEME file, or motifs.
    genome
        FASTA, where the peaks that motifs are inserted into are the variables of `adata`.
    atlas
        The atlas with those peaks, in place of `genome`.
    key
        Where in `adata` it goes.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.
    **options
        The other options of `atlasbasset.motif_activity`: ``n_backgrounds=1000``, ``seed=0``,
        ``both_strands``, ...

    Returns
    -------
    None
        `adata` has then:

        ``obsm[key]``
            pandas.DataFrame, float32 (N, motifs), columns named by TF: z-scores over all cells of
            the model.
        ``uns["scbasset"][key]``
            ``provenance`` (JSON text), the options, and ``motifs``, a row for each column:
            ``motif``, ``tf``, ``width``, and ``mean`` and ``sd`` of the raw activity, so that
            ``obsm[key] * sd + mean`` is the raw activity, by which motifs are compared.

    Examples
    --------
    >>> ab.tl.motif_activity(adata, "model.zarr", "jaspar.meme", "genome.fa")  # doctest: +SKIP
    >>> ab.pl.tf_activity(adata, groupby="leiden")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        Cells, peaks, motifs or options do not fit.
    """
    opened = as_model(model)
    rows = rows_of_cells(adata, opened)
    with tempfile.TemporaryDirectory() as folder:
        source = sequence_atlas(
            adata, opened, folder, atlas=atlas, genome=genome, on_event=on_event
        )
        out = urls.join(folder, "activity.zarr")
        score_motifs(opened, source, motifs=motifs, out=out, on_event=on_event, **options)
        result = Result.open(out)
        z, var, about = result.rows("X")[rows], result.var, dict(result.about)
    adata.obsm[key] = pd.DataFrame(z, index=adata.obs_names, columns=list(var.index))
    note_origin(adata, key, {**about, "motifs": var})
