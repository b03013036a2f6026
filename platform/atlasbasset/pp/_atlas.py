"""`make_atlas`: an atlas from counts in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlasbasset.verbs.preprocess import preprocess
from atlasstore.atlas.atlas import Atlas

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

    from atlasstore.events import Subscriber

__all__ = ["make_atlas"]


def make_atlas(
    adata: AnnData,
    genome: str | Path,
    out: str | Path,
    *,
    on_event: Subscriber | None = None,
    **options: Any,
) -> Atlas:
    """Make an atlas of an AnnData's cells and peaks: labels, and the sequences of the peaks.

    Parameters
    ----------
    adata
        Raw counts in X, cells x peaks; `obs` is kept. Peaks are found by the columns ``chrom``,
        ``start``, ``end`` of `var` (0-based half-open), else by names such as ``chr1:100-400``.
    genome
        FASTA of the assembly that the peaks were called on, plain or bgzip.
    out
        Path or URL of the atlas; nothing may exist there.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.
    **options
        The other options of `atlasbasset.preprocess`: ``layer="counts"``,
        ``min_cell_fraction=0.01`` (a peak is kept when open in so many cells), ``split``, ...

    Returns
    -------
    Atlas
        The atlas, open for reading; ``atlasbasset.train(atlas.url, out=...)`` goes on.

    Examples
    --------
    >>> import atlasbasset as ab  # doctest: +SKIP
    >>> atlas = ab.pp.make_atlas(adata, "genome.fa", "atlas.zarr")  # doctest: +SKIP
    >>> ab.train(atlas.url, out="model.zarr")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        As `atlasbasset.preprocess`.
    """
    preprocess(adata, genome=genome, out=out, on_event=on_event, **options)
    return Atlas.open(out)
