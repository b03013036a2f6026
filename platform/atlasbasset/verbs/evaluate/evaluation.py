"""What `evaluate` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.metrics import (
        CellTypeAsw,
        ClusterAgreement,
        Ilisi,
        Kbet,
        LabelScore,
        PredictionQuality,
    )
    from atlasbasset.verbs.evaluate.baseline_table import BaselineTable
    from atlasbasset.verbs.evaluate.profiles import ProfileMeasures
    from atlasbasset.verbs.evaluate.rna import RnaMeasures
    from atlasbasset.verbs.shared.prediction import Certainty

__all__ = ["Evaluation"]

_PARTS = (
    "prediction",
    "certainty",
    "labels",
    "asw",
    "clusters",
    "kbet",
    "ilisi",
    "profiles",
    "rna",
    "baselines",
)


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
    profiles: ProfileMeasures | None = None
    """Denoised profiles against labels and RNA, with `denoised`."""
    rna: RnaMeasures | None = None
    """Embedding and gene accessibility against expression, with `rna`."""
    baselines: BaselineTable | None = None
    """The model beside what can be had without it, with `baselines`."""

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
        found = {name: getattr(self, name) for name in _PARTS}
        return {
            "model": self.model,
            "atlas": self.atlas,
            "split": self.split,
            "n_peaks_overlapping": self.n_peaks_overlapping,
            "depth_correlation": self.depth_correlation,
            **{name: None if value is None else value.as_json() for name, value in found.items()},
        }
