"""`map_labels`: new cells onto a trained model, with labels of its cells."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.inference.model import as_model
from atlasbasset.tl._match import note_origin
from atlasbasset.verbs.map_cells.map_cells import map_cells
from atlasbasset.verbs.preprocess import preprocess
from atlasstore.errors import UserInputError
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.map_cells.report import MapReport
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["map_labels"]


def map_labels(
    adata: AnnData,
    model: str | Path | Model,
    label_key: str,
    genome: str | Path | None = None,
    *,
    atlas: str | Path | Atlas | None = None,
    obs: Obs | None = None,
    on_event: Subscriber | None = None,
    **options: Any,
) -> None:
    """Embed new cells with a trained model and label them by its cells; nothing is trained.

    Parameters
    ----------
    adata
        The new cells: raw counts in X, cells x peaks, which need not be the model's peaks.
    model
        The reference: a model, or the path or URL of its store.
    label_key
        Column with the labels of the model's cells.
    genome
        FASTA that the peaks' sequences are read from.
    atlas
        An atlas of the new cells, in place of `genome`.
    obs
        Table of the model's cells with that column, matched by name; by default the model's obs.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.
    **options
        The other options of `atlasbasset.map_cells`: ``l2``, ``split``, ``compute``, ...

    Returns
    -------
    None
        `adata` has then, for each cell that has an open peak (others are missing there):

        ``obs["mapped_LABEL_KEY"]``
            Category: the label of its neighbours among the model's cells.
        ``obs["mapped_LABEL_KEY_confidence"]``, ``obs["mapped_LABEL_KEY_novelty"]``
            float32 in 0..1; a novelty above 0.99 is that of a type which the model may lack
            (docs/map.md).
        ``obsm["X_scbasset"]``, ``obs["scbasset_intercept"]``
            float32: its embedding and intercept, comparable with the model's cells.
        ``uns["scbasset"]["mapped_LABEL_KEY"]``
            What `atlasbasset.map_cells` reports: peaks, convergence, accuracy of the labels.

    Examples
    --------
    >>> ab.tl.map_labels(new, "model.zarr", "cell_type", "genome.fa")  # doctest: +SKIP
    >>> new.obs["mapped_cell_type"].value_counts()  # doctest: +SKIP

    Raises
    ------
    UserInputError
        Labels, peaks, genome or options do not fit.
    """
    opened = as_model(model)
    with tempfile.TemporaryDirectory() as folder:
        source = atlas if atlas is not None else _atlas(adata, opened, genome, folder, on_event)
        out = urls.join(folder, "mapped.zarr")
        report = map_cells(
            opened, source, out=out, label_key=label_key, obs=obs, on_event=on_event, **options
        )
        _write(adata, ModelStore.open(out), report)


def _atlas(
    adata: AnnData,
    model: Model,
    genome: str | Path | None,
    folder: str,
    on_event: Subscriber | None,
) -> str:
    if genome is None:
        raise UserInputError(
            "the peaks' sequences are needed: give a FASTA (genome=), or an atlas of these cells "
            "(atlas=)."
        )
    out = urls.join(folder, "atlas.zarr")
    preprocess(
        adata,
        genome=genome,
        out=out,
        window_bp=model.window_bp,
        min_cell_fraction=0,
        on_event=on_event,
    )
    return out


def _write(adata: AnnData, mapped: ModelStore, report: MapReport) -> None:
    rows = mapped.obs.index.get_indexer(adata.obs_names)
    if (rows < 0).all():
        raise UserInputError(
            f"none of the {adata.n_obs:,} cells of adata ({adata.obs_names[0]}, ...) is in the "
            f"atlas ({mapped.obs.index[0]}, ...); give an atlas of these cells."
        )
    cells = mapped.newest()
    adata.obsm[EMBEDDING] = _placed(cells.rows("cells/embedding", 0, mapped.n_cells), rows)
    adata.obs[INTERCEPT] = _placed(cells.rows("cells/intercept", 0, mapped.n_cells), rows)
    columns = () if report.labels is None else report.labels.columns
    for name in columns:
        found: pd.Series[Any] = mapped.obs[name].reindex(adata.obs_names)
        adata.obs[name] = found
    values = {key: value for key, value in report.as_json().items() if key != "labels"}
    if report.labels is not None:
        values |= {"accuracy": report.labels.accuracy, "n_reference": report.labels.n_reference}
    note_origin(adata, columns[0] if columns else "mapped", values)


def _placed(values: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float32]:
    placed = np.full((len(rows), *values.shape[1:]), np.nan, np.float32)
    placed[rows >= 0] = values[rows[rows >= 0]]
    return placed
