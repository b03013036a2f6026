"""How well held-out peaks are predicted, cell by cell and peak by peak, beside a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from atlasbasset.metrics import (
    FactoredScores,
    PredictionQuality,
    SparseLabels,
    evaluate_scores,
    sample_rows,
)
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.shared.atlas_peaks import peak_labels
from atlasbasset.verbs.shared.embed_peaks_work import embed_by_workers
from atlasbasset.verbs.shared.held_out import judged_rows
from atlasbasset.verbs.shared.prediction import Certainty, certainty_of
from atlasstore.events import ignore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasbasset.verbs.report.options import ReportOptions
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["Predictions", "label_mean_quality", "predictions_of"]


@dataclass(frozen=True, eq=False, slots=True)
class Predictions:
    """P held-out peaks in n cells."""

    split: str
    """Which peaks: "test", or "valid" where there are no others."""
    rows: NDArray[np.int64]
    """int64 (P,): rows of the atlas's peaks."""
    names: tuple[str, ...]
    """Of the peaks."""
    n_split: int
    """Peaks of the split that may be judged; more than P means a seeded sample."""
    h: NDArray[np.float32]
    """float32 (P, E): embeddings of their sequences."""
    labels: sparse.csr_array
    """bool (P, n)."""
    quality: PredictionQuality
    certainty: Certainty
    reference: PredictionQuality | None
    """Of the mean of other cells with the same label, which has seen the answers; None without
    labels."""


def predictions_of(
    model: Model,
    atlas: Atlas | None,
    cells: SampledCells,
    options: ReportOptions,
    on_event: Subscriber,
) -> Predictions | Missing:
    """Predict held-out peaks of an atlas in the sampled cells, and measure it."""
    if atlas is None:
        return Missing(
            "Predictions are not measured: no atlas was given.",
            f"report {model.url} ATLAS --out report.html",
        )
    split = next((name for name in ("test", "valid") if len(atlas.peak_rows(name))), None)
    if split is None:
        return Missing("Predictions are not measured: the atlas has no held-out peaks.")
    judged, _ = judged_rows(atlas, split, ignore)  # a check tells of overlap
    rows = judged[sample_rows(len(judged), options.max_peaks, seed=options.seed)]
    h = embed_by_workers(model, atlas, rows, pool=options.pool, on_event=on_event)
    labels = peak_labels(atlas, rows, cells=cells.rows, pool=options.pool, on_event=on_event)
    embedding, intercept = model.table(cells.rows)
    quality = evaluate_scores(
        FactoredScores(h, embedding, intercept), SparseLabels(labels), on_event=on_event
    )
    return Predictions(
        split=split,
        rows=rows,
        names=tuple(str(name) for name in atlas.var.index[rows]),
        n_split=len(judged),
        h=h,
        labels=labels,
        quality=quality,
        certainty=certainty_of(quality, h, embedding, intercept, labels),
        reference=label_mean_quality(labels, cells.label, seed=options.seed),
    )


def label_mean_quality(
    labels: sparse.csr_array, of_cells: CellLabels | None, *, seed: int
) -> PredictionQuality | None:
    """Measure the mean of other cells with the same label, as a prediction.

    The cells are halved at random; each half is predicted by the means of the other, so no cell
    predicts itself. This has seen the held-out peaks: it is what knowing the label alone can reach.

    Parameters
    ----------
    labels
        bool (P, n).
    of_cells
        Labels of the n cells.
    """
    if of_cells is None:
        return None
    n_groups = len(of_cells.names)
    half = np.random.default_rng(seed).permutation(labels.shape[1]) % 2
    known = np.flatnonzero(of_cells.codes >= 0)
    columns = of_cells.codes[known] + n_groups * half[known]
    shape = (labels.shape[1], 2 * n_groups)
    members = sparse.csr_array((np.ones(len(known)), (known, columns)), shape=shape)
    sizes = np.maximum(members.sum(axis=0), 1)
    means = np.asarray((labels.astype(np.float64) @ members).toarray() / sizes, np.float32)
    predicts = np.zeros(shape, np.float32)
    predicts[known, of_cells.codes[known] + n_groups * (1 - half[known])] = 1
    scores = FactoredScores(means, predicts, np.zeros(shape[0], np.float32))
    return evaluate_scores(scores, SparseLabels(labels))
