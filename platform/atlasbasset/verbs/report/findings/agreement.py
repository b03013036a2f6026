"""Whether neighbours and clusters of the embedding agree with labels, and batches mix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from atlasbasset.metrics import (
    Ilisi,
    Kbet,
    LabelScore,
    cell_type_asw,
    ilisi,
    kbet,
    label_score,
    sample_rows,
)
from atlasbasset.metrics.baselines import lsi, lsi_variants, pca
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.shared.atlas_peaks import peak_labels
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasbasset.verbs.report.options import ReportOptions
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["Agreement", "Mixing", "agreement_of", "mixing_of"]

_MOST_CELLS = 5_000
_MOST_PEAKS = 20_000
_KS = (10, 50, 100)


@dataclass(frozen=True, eq=False, slots=True)
class Agreement:
    """G labels against neighbours and C clusters."""

    scores: dict[str, LabelScore]
    """Embedding -> label score: the model's first, then baselines on the same cells."""
    n_cells: int
    """Cells that the scores stand on; fewer than shown means a seeded sample."""
    asw: float | None
    """Cell-type silhouette, (1 + mean) / 2; None where it cannot be had."""
    ari: float | None
    """Adjusted Rand index of Leiden clusters and labels; None without clusters."""
    ami: float | None
    """Adjusted mutual information of the two."""
    shares: NDArray[np.float64] | None
    """float64 (G, C): share of each label's cells in each cluster; None without clusters."""
    label_names: tuple[str, ...]
    cluster_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mixing:
    """How well batches mix in the embedding."""

    kbet: Kbet
    ilisi: Ilisi


def agreement_of(
    cells: SampledCells,
    clusters: CellLabels | None,
    atlas: Atlas | None,
    options: ReportOptions,
    on_event: Subscriber,
) -> Agreement | Missing:
    """Compare embedding, baselines and clusters with the labels."""
    label = cells.label
    if label is None:
        return Missing(
            "Agreement with labels is not measured: no column of labels was named.",
            "report MODEL ATLAS --label-key COLUMN --out report.html",
        )
    picked = sample_rows(len(cells.rows), _MOST_CELLS, seed=options.seed)
    values = label.values()[picked]
    scores = {"model": label_score(cells.embedding[picked], values, _fitting(values))}
    if atlas is not None:
        table = _training_labels(atlas, cells.rows[picked], options, on_event)
        for name, embedding in _baselines(table, options.seed).items():
            scores[name] = label_score(embedding, values, _fitting(values))
    return Agreement(
        scores=scores,
        n_cells=len(picked),
        asw=_asw(cells.embedding[picked], values, options.seed),
        **_clusters(label, clusters),
    )


def _fitting(values: NDArray[np.object_]) -> list[int]:
    """Return the numbers of neighbours that so many labelled cells have, at least one."""
    n = sum(value is not None for value in values)
    return [k for k in _KS if k < n] or [max(1, n - 1)]


def _training_labels(
    atlas: Atlas, cells: NDArray[np.int64], options: ReportOptions, on_event: Subscriber
) -> sparse.csr_array:
    """Return labels of training peaks, cells x peaks: what the model was trained on."""
    rows = atlas.peak_rows("train")
    rows = rows[sample_rows(len(rows), _MOST_PEAKS, seed=options.seed)]
    found = peak_labels(atlas, rows, cells=cells, pool=options.pool, on_event=on_event)
    return found.T.tocsr()


def _baselines(table: sparse.csr_array, seed: int) -> dict[str, NDArray[np.float32]]:
    if min(table.shape) < _LEAST_SIDE:
        return {}
    return {"PCA": pca(table, seed=seed), "LSI": lsi_variants(lsi(table, seed=seed))["LSI less 1"]}


_LEAST_SIDE = 4
"""Cells and peaks below which there is nothing to decompose."""


def _asw(embedding: NDArray[np.float32], values: NDArray[np.object_], seed: int) -> float | None:
    try:
        return cell_type_asw(embedding, values, seed=seed, max_cells=_MOST_CELLS).asw
    except UserInputError:  # one label, or as many as cells
        return None


def _clusters(label: CellLabels, clusters: CellLabels | None) -> dict[str, Any]:
    names: dict[str, Any] = {"label_names": label.names}
    if clusters is None:
        return {"ari": None, "ami": None, "shares": None, "cluster_names": (), **names}
    known = label.codes >= 0
    ours, theirs = label.codes[known], clusters.codes[known]
    counts = np.zeros((len(label.names), len(clusters.names)))
    np.add.at(counts, (ours, theirs), 1)
    return {
        "ari": float(adjusted_rand_score(ours, theirs)),
        "ami": float(adjusted_mutual_info_score(ours, theirs)),
        "shares": counts / np.maximum(counts.sum(1, keepdims=True), 1),
        "cluster_names": clusters.names,
        **names,
    }


def mixing_of(cells: SampledCells, options: ReportOptions) -> Mixing | Missing:
    """Measure how batches mix in the embedding."""
    if cells.batch is None and cells.lone_batch is not None:
        why = f"Mixing of batches is not measured: all cells are of one batch ({cells.lone_batch})."
        return Missing(why)
    if cells.batch is None:
        return Missing(
            "Mixing of batches is not measured: no column of batches was named.",
            "report MODEL ATLAS --batch-key COLUMN --out report.html",
        )
    values = cells.batch.values()
    return _of_batches(cells.embedding, values, options.seed)


def _of_batches(
    embedding: NDArray[np.float32], values: NDArray[np.object_], seed: int
) -> Mixing | Missing:
    n_known = sum(value is not None for value in values)
    k = min(50, n_known - 1)
    try:
        return Mixing(
            kbet(embedding, values, k=k, n_queries=min(_MOST_CELLS, n_known), seed=seed),
            ilisi(embedding, values, n_queries=min(_MOST_CELLS, n_known), seed=seed),
        )
    except UserInputError as error:
        return Missing(f"Mixing of batches is not measured: {error}")
