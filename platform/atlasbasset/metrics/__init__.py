"""Measures of a trained model: predictions, embedding, clusters, batch mixing, depth.

Every measure takes numpy arrays, is exact unless its result states a sample, and returns a frozen
dataclass with `as_json()`.
"""

from __future__ import annotations

from ._cells import sample_rows
from .clustering import CellTypeAsw, ClusterAgreement, cell_type_asw, cluster_agreement, leiden
from .correlation import depth_correlation
from .labels import LabelSource, SparseLabels
from .mixing import Ilisi, Kbet, ilisi, kbet
from .neighbors import LabelScore, NeighborScore, label_score, neighbor_score
from .ranks import (
    RankMeasures,
    auroc_columns,
    auroc_rows,
    average_precision_columns,
    average_precision_rows,
    rank_columns,
    rank_rows,
)
from .scores import (
    FactoredScores,
    PredictionQuality,
    ScoreSource,
    evaluate_scores,
    mean_auroc_per_cell,
    rank_cells,
    rank_peaks,
    split_scores,
)

__all__ = [
    "CellTypeAsw",
    "ClusterAgreement",
    "FactoredScores",
    "Ilisi",
    "Kbet",
    "LabelScore",
    "LabelSource",
    "NeighborScore",
    "PredictionQuality",
    "RankMeasures",
    "ScoreSource",
    "SparseLabels",
    "auroc_columns",
    "auroc_rows",
    "average_precision_columns",
    "average_precision_rows",
    "cell_type_asw",
    "cluster_agreement",
    "depth_correlation",
    "evaluate_scores",
    "ilisi",
    "kbet",
    "label_score",
    "leiden",
    "mean_auroc_per_cell",
    "neighbor_score",
    "rank_cells",
    "rank_columns",
    "rank_peaks",
    "rank_rows",
    "sample_rows",
    "split_scores",
]
