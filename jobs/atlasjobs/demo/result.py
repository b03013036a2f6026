"""The demo's results next to the best possible ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlasbasset.verbs.evaluate import Evaluation
    from atlasjobs.demo.settings import DemoSettings
    from atlasjobs.demo.truth import Ceiling, DenoisingAgreement

__all__ = ["DemoResult", "Row"]

_K, _NEEDED = 50, 0.9
_NEEDED_AUROC = 0.58
"""Per cell, on held-out peaks: 0.53 on a trunk that learned nothing, 0.63 and more on one that has.
The label score alone would not tell, as peaks that deviate know the labels without a trunk."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison."""

    measure: str
    reached: float | None
    best: float | None
    """What the truth itself reaches; None where there is no such figure."""
    chance: float | None
    """What knowing nothing reaches; None where there is no such figure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoResult:
    """The demo's figures."""

    settings: DemoSettings
    evaluation: Evaluation
    start: Mapping[int, float]
    """K -> label score of the training's start, which is the labels' SVD: before any learning."""
    ceiling: Ceiling
    denoising: DenoisingAgreement
    activity: float
    """Pearson's r of TF activity with the planted activities."""
    sites: float
    """auROC of planted sites among the mutated bases, ranked by importance."""
    history: tuple[Mapping[str, Any], ...]
    """One record per epoch."""
    seconds: Mapping[str, float]
    """Stage -> what it took in this run; stages kept from an earlier run took nothing."""

    @property
    def label_scores(self) -> Mapping[int, float]:
        """K -> label score."""
        return {} if self.evaluation.labels is None else self.evaluation.labels.mean

    @property
    def auroc_per_cell(self) -> float:
        """On the held-out peaks, predicted from their sequences alone."""
        return self.evaluation.prediction.mean_auroc_per_cell

    @property
    def succeeded(self) -> bool:
        """Whether cell types are apart (label score at k = 50) and unseen sequences predicted."""
        return self.label_scores.get(_K, 0.0) >= _NEEDED and self.auroc_per_cell >= _NEEDED_AUROC

    @property
    def shortfall(self) -> str:
        """One sentence on what was missed."""
        return (
            f"The label score at k = {_K} is {self.label_scores.get(_K, 0.0):.3f} (needed: "
            f"{_NEEDED}) and the auROC per cell on held-out peaks {self.auroc_per_cell:.3f} "
            f"(needed: {_NEEDED_AUROC}); this installation does not train as it should."
        )

    def rows(self) -> list[Row]:
        """Return the comparison, line by line."""
        labels, clusters = self.evaluation.labels, self.evaluation.clusters
        chance = None if labels is None else labels.chance
        prediction, ceiling = self.evaluation.prediction, self.ceiling
        rows = [Row(f"label score, k = {k}", v, 1.0, chance) for k, v in self.label_scores.items()]
        rows += [Row(f"  of the start, k = {k}", v, 1.0, chance) for k, v in self.start.items()]
        rows.append(Row("ARI of clusters", None if clusters is None else clusters.ari, 1.0, 0.0))
        rows.append(
            Row("auROC per cell", prediction.mean_auroc_per_cell, ceiling.auroc_per_cell, 0.5)
        )
        rows.append(
            Row("auROC per peak", prediction.mean_auroc_per_peak, ceiling.auroc_per_peak, 0.5)
        )
        rows.append(Row("r, denoised with true rates", self.denoising.denoised, 1.0, 0.0))
        rows.append(Row("r, counts with true rates", self.denoising.labels, None, 0.0))
        rows.append(Row("r, TF activity with the truth", self.activity, 1.0, 0.0))
        rows.append(Row("auROC of planted sites, ISM", self.sites, 1.0, 0.5))
        rows.append(
            Row("r, intercept with log10 depth", self.evaluation.depth_correlation, 1.0, 0.0)
        )
        return rows

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "succeeded": self.succeeded,
            "comparison": [asdict(row) for row in self.rows()],
            "evaluation": self.evaluation.as_json(),
            "start_label_scores": {str(k): value for k, value in self.start.items()},
            "ceiling": asdict(self.ceiling),
            "denoising": asdict(self.denoising),
            "tf_activity_r": self.activity,
            "ism_site_auroc": self.sites,
            "history": [dict(record) for record in self.history],
            "seconds": dict(self.seconds),
            "settings": self.settings.as_json(),
        }
