"""What is in an AnnData found by name in models and atlases, and where results came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from atlasbasset.inference.selection import named_rows
from atlasbasset.verbs.preprocess import preprocess
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.genome.peaks import peaks_from_var

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray

    from atlasbasset.inference.model import Model
    from atlasstore.events import Subscriber

__all__ = ["UNS", "note_origin", "rows_of_cells", "rows_of_peaks", "sequence_atlas"]

UNS = "scbasset"


def rows_of_cells(adata: AnnData, model: Model) -> NDArray[np.int64]:
    """Return the model's row of each cell of `adata`.

    Raises
    ------
    UserInputError
        A cell is not the model's, or a name stands twice.
    """
    absent = adata.obs_names[~adata.obs_names.isin(model.obs_names)]
    if len(absent):
        listed = ", ".join(map(str, absent[:3])) + (", ..." if len(absent) > 3 else "")
        raise UserInputError(
            f"{len(absent):,} of {adata.n_obs:,} cells of adata are not in {model.url} ({listed}); "
            f"its cells are called like {model.obs_names[0]}: take "
            "adata[adata.obs_names.isin(model.obs_names)], or map new cells with tl.map_labels."
        )
    return named_rows(model.obs_names, list(adata.obs_names), unit="cells of adata")


def rows_of_peaks(adata: AnnData, atlas: Atlas) -> NDArray[np.int64]:
    """Return the atlas's row of each variable of `adata`, matched by coordinates.

    Raises
    ------
    UserInputError
        A variable is no peak, or none of the atlas's.
    """
    known = _coordinates(atlas.var)
    return named_rows(known, list(_coordinates(peaks_from_var(adata.var))), unit="peaks of adata")


def _coordinates(peaks: pd.DataFrame) -> pd.Index[str]:
    columns = (peaks[name].astype(str) for name in ("chrom", "start", "end"))
    named = zip(*columns, strict=True)
    return pd.Index([f"{chrom}:{start}-{end}" for chrom, start, end in named], dtype=object)


def sequence_atlas(
    adata: AnnData,
    model: Model,
    folder: str | Path,
    *,
    atlas: str | Path | Atlas | None,
    genome: str | Path | None,
    on_event: Subscriber | None,
) -> Atlas:
    """Return the atlas that sequences are taken from: the given one, or one of adata's peaks.

    Parameters
    ----------
    folder
        Where one may be made, of a single cell in which every peak is open.
    atlas, genome
        One of the two: an atlas, or a FASTA.

    Raises
    ------
    UserInputError
        Both are given, or neither, or peaks and genome do not fit.
    """
    if (atlas is None) is (genome is None):
        raise UserInputError(
            "sequences come from the atlas that the model was trained on (atlas=) or from adata's "
            "peaks and a FASTA (genome=); give one of the two."
        )
    if atlas is not None:
        return atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    import anndata

    out = urls.join(folder, "sequences.zarr")
    one = anndata.AnnData(np.ones((1, adata.n_vars), np.float32), var=peaks_from_var(adata.var))
    preprocess(
        one,
        genome=str(genome),
        out=out,
        window_bp=model.window_bp,
        split="random",
        on_event=on_event,
    )
    return Atlas.open(out)


def note_origin(adata: AnnData, key: str, about: dict[str, Any]) -> None:
    """Keep in ``uns["scbasset"][key]`` what a result says of itself."""
    kept = {name: value for name, value in about.items() if name != "shards"}
    adata.uns[UNS] = {**adata.uns.get(UNS, {}), key: kept}
