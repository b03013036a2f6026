"""`evaluate`: how good a model is, on the peaks it has not seen and on its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.inference.cell_labels import Obs, cell_labels, check_batches, opened_table
from atlasbasset.inference.model import Model, as_model
from atlasbasset.metrics import (
    CellTypeAsw,
    ClusterAgreement,
    Ilisi,
    Kbet,
    LabelScore,
    PredictionQuality,
    cell_type_asw,
    cluster_agreement,
    ilisi,
    kbet,
    label_score,
)
from atlasbasset.metrics.confounding import batch_groups
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.depth import model_depth_correlation
from atlasbasset.verbs.shared.held_out import judged_rows
from atlasbasset.verbs.shared.prediction import Certainty, measure_predictions
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Subscriber

__all__ = ["Evaluation", "checked_keys", "evaluate"]


@dataclass(frozen=True, eq=False, slots=True)
class Evaluation:
    """Measures of one model; None where a measure was not asked for."""

    model: str
    """URL of the model."""
    atlas: str
    """URL of the atlas."""
    split: str
    """Which peaks were predicted."""
    prediction: PredictionQuality
    """auROC and auPR, means and one value per cell and per peak."""
    depth_correlation: float | None
    """Pearson's r of intercept and log10 open peaks (paper, Supplementary Fig. 4)."""
    n_peaks_overlapping: int = 0
    """Peaks of the split left out because their windows share bases with training windows."""
    certainty: Certainty | None = None
    """Intervals of the mean auROCs, and what chance gives as auPR."""
    labels: LabelScore | None = None
    """Label score, with `label_key`."""
    asw: CellTypeAsw | None = None
    """Cell-type silhouette, with `label_key` and `cluster`."""
    clusters: ClusterAgreement | None = None
    """Leiden clusters against the labels, with `label_key` and `cluster`."""
    kbet: Kbet | None = None
    """Batch mixing, with `batch_key`."""
    ilisi: Ilisi | None = None
    """Batch mixing, with `batch_key`."""

    @property
    def per_cell(self) -> NDArray[np.float64]:
        """AuROC of each cell over the split's peaks, float64 (N,); NaN with one class."""
        return self.prediction.auroc_per_cell

    @property
    def per_peak(self) -> NDArray[np.float64]:
        """AuROC of each of the predicted peaks over cells, float64 (P,); NaN with one class."""
        return self.prediction.auroc_per_peak

    def as_json(self) -> dict[str, Any]:
        """Return JSON values: means and counts, no arrays."""
        parts = ("prediction", "certainty", "labels", "asw", "clusters", "kbet", "ilisi")
        found = {name: getattr(self, name) for name in parts}
        return {
            "model": self.model,
            "atlas": self.atlas,
            "split": self.split,
            "n_peaks_overlapping": self.n_peaks_overlapping,
            "depth_correlation": self.depth_correlation,
            **{name: None if value is None else value.as_json() for name, value in found.items()},
        }


def evaluate(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    split: Split = "test",
    label_key: str | None = None,
    batch_key: str | None = None,
    obs: Obs | None = None,
    ks: Sequence[int] = (10, 50, 100),
    cluster: bool = False,
    on_event: Subscriber = ignore,
) -> Evaluation:
    """Measure a model against an atlas of its cells.

    Predictions are with the intercept, and with the batch terms of a batch-corrected model: they
    stand for what was observed. Measures of the embedding use the cell embedding alone.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        An atlas of the same cells in the same order, or its URL.
    split
        Peaks to predict: "train", "valid", "test" or "all". Of "valid" and "test", those whose
        windows share a base with a training window are left out.
    label_key
        Column of obs with each cell's label (cell type): adds the label score.
    batch_key
        Column of obs with each cell's batch: adds kBET and iLISI. Cells without a label or batch
        (missing, empty text or "nan") are left out of the measures that need it.
    obs
        Table of cells with these columns, made after the model: a CSV, TSV or AnnData at a path or
        URL, or a pandas table; matched by the cells' names. By default the atlas's obs.
    ks
        Neighbours of the label score.
    cluster
        With `label_key`: also cluster the cells and compare, and compute the silhouette.
    on_event
        Hears `Progress`, and a `Notice` where labels and batches are confounded.

    Raises
    ------
    UserInputError
        When model and atlas do not fit together, the split has no peaks, obs lacks a column, or
        the batches are none: one alone, or as many as cells.
    MissingExtraError
        When `cluster` is asked for and igraph is not installed.
    """
    loaded, cells = as_model(model), atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    check_window(loaded.store, cells)
    _check_same_cells(loaded, cells)
    rows, n_overlapping = judged_rows(cells, split, on_event)
    label, batch = checked_keys(cells, label_key, batch_key, obs=obs, on_event=on_event)
    if label is not None and batch is not None:
        _say_if_confounded(label, batch, on_event)
    embedding = loaded.cell_embedding
    grouped = label if cluster else None
    prediction, certainty = measure_predictions(loaded, cells, rows, on_event)
    return Evaluation(
        model=loaded.url,
        atlas=cells.url,
        split=split,
        n_peaks_overlapping=n_overlapping,
        certainty=certainty,
        prediction=prediction,
        depth_correlation=model_depth_correlation(loaded),
        labels=None if label is None else label_score(embedding, label, ks),
        asw=None if grouped is None else cell_type_asw(embedding, grouped),
        clusters=None if grouped is None else cluster_agreement(embedding, grouped),
        kbet=None if batch is None else kbet(embedding, batch),
        ilisi=None if batch is None else ilisi(embedding, batch),
    )


def _say_if_confounded(label: NDArray[Any], batch: NDArray[Any], on_event: Subscriber) -> None:
    groups = batch_groups(label, batch)
    if len(groups) > 1:
        shown = " | ".join(", ".join(group[:5]) + " ..." * (len(group) > 5) for group in groups[:5])
        more = f" | and {len(groups) - 5:,} more" if len(groups) > 5 else ""
        on_event(
            Notice(
                f"Labels and batches are confounded: no label joins {shown}{more}. Between these "
                "kBET and iLISI cannot tell a batch's effect from its cell types; no method could."
            )
        )


def _check_same_cells(model: Model, atlas: Atlas) -> None:
    ours, theirs = model.obs_names, atlas.obs.index
    if len(ours) != len(theirs):
        raise UserInputError(
            f"{model.url} has {len(ours)} cells and {atlas.url} has {len(theirs)}; give the atlas "
            "the model was trained on."
        )
    differing = np.flatnonzero(np.asarray(ours) != np.asarray(theirs))
    if differing.size:
        first = differing[0]
        raise UserInputError(
            f"{model.url} and {atlas.url} have other cells or another order (cell {first} is "
            f"{ours[first]} in the model and {theirs[first]} in the atlas); give the atlas the "
            "model was trained on."
        )


def checked_keys(
    atlas: Atlas,
    label_key: str | None,
    batch_key: str | None,
    *,
    obs: Obs | None = None,
    on_event: Subscriber = ignore,
) -> tuple[NDArray[np.object_] | None, NDArray[np.object_] | None]:
    """Return each cell's label and batch (None for none), or raise what `evaluate` raises of them.

    Before any work: that nothing can be measured is known from obs alone.
    """
    if obs is not None and label_key is None and batch_key is None:
        raise UserInputError(
            "a table of cells (obs) is there for its labels; name the column (label_key, "
            "batch_key)."
        )
    table = None if obs is None else opened_table(obs)
    found = []
    for key, least in ((label_key, 0), (batch_key, 2)):
        labels = None if key is None else cell_labels(atlas.obs, key, obs=table, what=atlas.url)
        if labels is not None:
            warning = check_batches(labels, atlas.url, least=least) if least else None
            for told in (labels.told(), warning):
                if told:
                    on_event(Notice(told))
        found.append(None if labels is None else labels.values())
    return found[0], found[1]
