"""The checked input of `evaluate`, and how it is worked off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.metrics import cell_type_asw, cluster_agreement, ilisi, kbet, label_score
from atlasbasset.verbs.evaluate.evaluation import Evaluation
from atlasbasset.verbs.evaluate.profiles import measure_profiles
from atlasbasset.verbs.evaluate.rna import measure_rna, read_rna
from atlasbasset.verbs.shared.atlas_peaks import embed_peaks
from atlasbasset.verbs.shared.depth import model_depth_correlation
from atlasbasset.verbs.shared.prediction import measure_predictions
from atlasstore.events import Notice
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.evaluate.profiles import ProfileMeasures
    from atlasbasset.verbs.evaluate.rna import RnaMeasures
    from atlasbasset.verbs.evaluate.rna_input import RnaInput
    from atlasbasset.verbs.shared.plan import PlannedModel
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["EvaluatePlan"]


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
    """What is to be said of the input."""
    n_overlapping: int
    """Held-out peaks left out, as their windows share bases with training windows."""
    rna: RnaInput | None
    """Where cells are held against their RNA."""
    profile_rows: NDArray[np.int64] | None
    """Peaks of the denoised profiles, where these are measured."""

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would evaluate {self.model.url}"

    def lines(self) -> Lines:
        """Return cells, peaks and predictions."""
        n_predictions = count(len(self.rows) * self.model.n_cells)
        lines = [
            ("cells", count(self.model.n_cells)),
            ("peaks", f"{count(len(self.rows))} of the {self.split} split"),
            ("predictions", f"{n_predictions}, computed in tiles"),
        ]
        if self.profile_rows is not None:
            lines.append(("denoised profiles", f"of {count(len(self.profile_rows))} peaks"))
        if self.rna is not None:
            lines += self.rna.lines()
        return [*lines, *(("input", sentence) for sentence in self.notices)]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        rna, profiles = self.rna, self.profile_rows
        return {
            "n_cells": self.model.n_cells,
            "n_peaks": len(self.rows),
            "split": self.split,
            "n_profile_peaks": 0 if profiles is None else len(profiles),
            "n_rna_cells": 0 if rna is None else len(rna.cells),
            "n_genes": 0 if rna is None or rna.genes is None else len(rna.genes.columns),
        }

    def _run(self, on_event: Subscriber) -> Evaluation:
        model, label, batch = self.model.loaded, self.label, self.batch
        for sentence in self.notices:
            on_event(Notice(sentence))
        profiles, rna = self._beyond_held_out(model, on_event)
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
            profiles=profiles,
            rna=rna,
        )

    def _beyond_held_out(
        self, model: Model, on_event: Subscriber
    ) -> tuple[ProfileMeasures | None, RnaMeasures | None]:
        """Measure denoised profiles and RNA, which need other peaks than the split's."""
        cells = None if self.rna is None else read_rna(self.rna)
        genes = None if self.rna is None else self.rna.genes
        none = np.empty(0, np.int64)
        of_profiles = none if self.profile_rows is None else self.profile_rows
        rows = np.union1d(of_profiles, none if genes is None else genes.peaks)
        h, deviates = self._denoising(model, rows, on_event)
        profiles = rna = None
        if self.profile_rows is not None:
            profiles = measure_profiles(
                model.cell_embedding,
                h[np.searchsorted(rows, of_profiles)],
                label=self.label,
                rna=cells,
                ks=self.ks,
                n_peaks=self.atlas.n_peaks,
                peak_deviations=deviates,
            )
        if self.rna is not None and cells is not None:
            rna = measure_rna(
                self.rna,
                cells,
                self.atlas,
                embedding=model.cell_embedding,
                h=None if genes is None else h[np.searchsorted(rows, genes.peaks)],
                ks=self.ks,
                on_event=on_event,
            )
        return profiles, rna

    def _denoising(
        self, model: Model, rows: NDArray[np.int64], on_event: Subscriber
    ) -> tuple[NDArray[np.float32], bool]:
        """Return peaks' embeddings as `denoise` takes them, and whether deviations are in them."""
        if not rows.size:
            return np.empty((0, model.cell_embedding.shape[1]), np.float32), False
        h = embed_peaks(model, self.atlas, rows, on_event=on_event)
        deviates, sentence = self.model.deviates_on(self.atlas)
        if sentence:
            on_event(Notice(sentence))
        if deviates and model.deviations is not None:
            h += model.deviations.deviation[rows]
        return h, deviates
