"""`evaluate`: how good a model is, on the peaks it has not seen and on its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from atlasbasset.inference.cell_labels import cell_labels, check_batches, opened_table
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
from atlasbasset.verbs.shared.plan import PlannedModel
from atlasbasset.verbs.shared.prediction import Certainty, measure_predictions
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.prediction import Certainty
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Subscriber
    from atlasstore.models.model_store import ModelStore
    from atlasstore.plans import Lines

__all__ = ["EvaluatePlan", "Evaluation", "evaluate", "plan_evaluate"]


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

    def __repr__(self) -> str:
        found = self.prediction
        per_cell, per_peak = found.mean_auroc_per_cell, found.mean_auroc_per_peak
        return (
            f"Evaluation({self.model!r}: auROC {per_cell:.3f} per cell, {per_peak:.3f} per peak "
            f"on the {self.split} peaks of {self.atlas!r})"
        )

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


@dataclass(frozen=True, eq=False, repr=False)
class EvaluatePlan(Plan[Evaluation]):
    """Checked input of `evaluate`, and its sizes; made by `plan_evaluate`."""

    model: PlannedModel
    atlas: Atlas
    split: Split
    rows: NDArray[np.int64]
    """The split's peaks."""
    label: NDArray[np.object_] | None
    """Of each cell, where the label score is asked for."""
    batch: NDArray[np.object_] | None
    """Of each cell, where batch mixing is asked for."""
    ks: tuple[int, ...]
    cluster: bool
    notices: tuple[str, ...]
    """What is to be said of labels, batches and held-out peaks."""
    n_overlapping: int
    """Held-out peaks left out, as their windows share bases with training windows."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would evaluate {self.model.url}"

    def lines(self) -> Lines:
        """Return cells, peaks and predictions."""
        n_predictions = count(len(self.rows) * self.model.n_cells)
        return [
            ("cells", count(self.model.n_cells)),
            ("peaks", f"{count(len(self.rows))} of the {self.split} split"),
            ("predictions", f"{n_predictions}, computed in tiles"),
            *(("labels", sentence) for sentence in self.notices),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"n_cells": self.model.n_cells, "n_peaks": len(self.rows), "split": self.split}

    def _run(self, on_event: Subscriber) -> Evaluation:
        model, label, batch = self.model.loaded, self.label, self.batch
        for sentence in self.notices:
            on_event(Notice(sentence))
        embedding = model.cell_embedding
        grouped = label if self.cluster else None
        prediction, certainty = measure_predictions(model, self.atlas, self.rows, on_event)
        return Evaluation(
            model=model.url,
            atlas=self.atlas.url,
            split=self.split,
            n_peaks_overlapping=self.n_overlapping,
            certainty=certainty,
            prediction=prediction,
            depth_correlation=model_depth_correlation(model),
            labels=None if label is None else label_score(embedding, label, self.ks),
            asw=None if grouped is None else cell_type_asw(embedding, grouped),
            clusters=None if grouped is None else cluster_agreement(embedding, grouped),
            kbet=None if batch is None else kbet(embedding, batch),
            ilisi=None if batch is None else ilisi(embedding, batch),
        )


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
    on_event: Subscriber | None = None,
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
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> found = evaluate("model.zarr", "atlas.zarr", label_key="cell_type")  # doctest: +SKIP
    >>> found.prediction.mean_auroc_per_cell, found.labels.mean[50]  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When model and atlas do not fit together, the split has no peaks, obs lacks a column, or
        the batches are none: one alone, or as many as cells.
    MissingExtraError
        When `cluster` is asked for and igraph is not installed.
    """
    plan = plan_evaluate(
        model,
        atlas,
        split=split,
        label_key=label_key,
        batch_key=batch_key,
        obs=obs,
        ks=ks,
        cluster=cluster,
    )
    return plan.run(on_event=on_event)


def plan_evaluate(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    split: Split = "test",
    label_key: str | None = None,
    batch_key: str | None = None,
    obs: Obs | None = None,
    ks: Sequence[int] = (10, 50, 100),
    cluster: bool = False,
) -> EvaluatePlan:
    """Plan `evaluate`: check its input; nothing is computed.

    Parameters are those of `evaluate`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_evaluate("model.zarr", "atlas.zarr"))  # doctest: +SKIP
    """
    planned = PlannedModel.of(model)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    check_window(planned.store, cells)
    _check_same_cells(planned.store, cells)
    said: list[Notice] = []
    rows, n_overlapping = judged_rows(cells, split, said.append)
    keys = _checked_keys(cells, label_key, batch_key, obs)
    if keys.label is not None and keys.batch is not None:
        _say_if_confounded(keys.label, keys.batch, said.append)
    return EvaluatePlan(
        planned,
        cells,
        split,
        rows,
        keys.label,
        keys.batch,
        tuple(ks),
        cluster,
        (*keys.notices, *(notice.message for notice in said)),
        n_overlapping,
    )


def _say_if_confounded(
    label: NDArray[Any], batch: NDArray[Any], on_event: Callable[[Notice], object]
) -> None:
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


def _check_same_cells(model: ModelStore, atlas: Atlas) -> None:
    ours, theirs = model.obs.index, atlas.obs.index
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


def _checked_keys(
    atlas: Atlas, label_key: str | None, batch_key: str | None, obs: Obs | None
) -> _Keys:
    """Return each cell's label and batch, or raise what `evaluate` raises of them."""
    if obs is not None and label_key is None and batch_key is None:
        raise UserInputError(
            "a table of cells (obs) is there for its labels; name the column (label_key, "
            "batch_key)."
        )
    table = None if obs is None else opened_table(obs)
    found, notices = [], []
    for key, least in ((label_key, 0), (batch_key, 2)):
        labels = None if key is None else cell_labels(atlas.obs, key, obs=table, what=atlas.url)
        if labels is not None:
            warning = check_batches(labels, atlas.url, least=least) if least else None
            notices += [sentence for sentence in (labels.notice(), warning) if sentence]
        found.append(None if labels is None else labels.values())
    return _Keys(found[0], found[1], tuple(notices))


class _Keys(NamedTuple):
    label: NDArray[np.object_] | None
    batch: NDArray[np.object_] | None
    notices: tuple[str, ...]
