"""The checked input of `evaluate`, and how it is worked off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from atlasbasset.metrics import cell_type_asw, cluster_agreement, ilisi, kbet, label_score
from atlasbasset.verbs.evaluate.baseline_table import Judge
from atlasbasset.verbs.evaluate.baselines import measure_baselines
from atlasbasset.verbs.evaluate.evaluation import Evaluation
from atlasbasset.verbs.evaluate.profiles import measure_profiles
from atlasbasset.verbs.evaluate.retrain import retraining_lines
from atlasbasset.verbs.evaluate.rna import measure_rna, read_rna
from atlasbasset.verbs.shared.depth import model_depth_correlation
from atlasbasset.verbs.shared.embed_peaks_work import embed_by_workers
from atlasbasset.verbs.shared.plan import workers_in_full
from atlasbasset.verbs.shared.prediction import measure_predictions
from atlasstore.events import Notice
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.evaluate.baseline_table import BaselineTable
    from atlasbasset.verbs.evaluate.baselines import Baselines
    from atlasbasset.verbs.evaluate.profiles import ProfileMeasures
    from atlasbasset.verbs.evaluate.rna import RnaCells, RnaMeasures
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
    baselines: Baselines | None
    """Where baselines are measured beside the model."""
    pool: WorkerPool
    """Who embeds, reads labels and ranks."""

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
            ("arithmetic", self.model.arithmetic),
            ("workers", workers_in_full(self.pool)),
        ]
        if self.profile_rows is not None:
            lines.append(("denoised profiles", f"of {count(len(self.profile_rows))} peaks"))
        if self.rna is not None:
            lines += self.rna.lines()
        if self.baselines is not None:
            lines += self.baselines.lines()
            if self.baselines.retrain:
                lines += retraining_lines(self.model.store)
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
            "n_baseline_cells": 0 if self.baselines is None else len(self.baselines.cells),
            "n_genes": 0 if rna is None or rna.genes is None else len(rna.genes.columns),
            "workers": self.pool.count,
        }

    def _run(self, on_event: Subscriber) -> Evaluation:
        for sentence in self.notices:
            on_event(Notice(sentence))
        self.model.tell_arithmetic(on_event)
        with self.pool.session(on_event):
            return self._measured(on_event)

    def _measured(self, on_event: Subscriber) -> Evaluation:
        model, label, batch = self.model.loaded, self.label, self.batch
        rna_cells = None if self.rna is None else read_rna(self.rna)
        peaks = self._embedded(model, on_event)
        embedding = model.cell_embedding
        grouped = label if self.cluster else None
        prediction, certainty = measure_predictions(
            model, self.atlas, self.rows, on_event, h=peaks.h_of(self.rows), pool=self.pool
        )
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
            profiles=self._profiles(model, peaks, rna_cells),
            rna=self._against_rna(model, peaks, rna_cells, on_event),
            baselines=self._baselines(model, peaks, rna_cells, on_event),
        )

    def _embedded(self, model: Model, on_event: Subscriber) -> _Embedded:
        """Embed every peak that any measure needs, once."""
        wanted = [self.rows]
        if self.profile_rows is not None:
            wanted.append(self.profile_rows)
        if self.rna is not None and self.rna.genes is not None:
            wanted.append(self.rna.genes.peaks)
        if self.baselines is not None:
            wanted.append(self.baselines.sampled)
        rows = np.unique(np.concatenate(wanted))
        h = embed_by_workers(model, self.atlas, rows, pool=self.pool, on_event=on_event)
        if len(wanted) == 1:  # predictions are of sequences alone
            return _Embedded(rows, h, None)
        deviates, sentence = self.model.deviates_on(self.atlas)
        if sentence:
            on_event(Notice(sentence))
        found = model.deviations if deviates else None
        return _Embedded(rows, h, None if found is None else found.deviation[rows])

    def _profiles(
        self, model: Model, peaks: _Embedded, cells: RnaCells | None
    ) -> ProfileMeasures | None:
        if self.profile_rows is None:
            return None
        return measure_profiles(
            model.cell_embedding,
            peaks.denoising(self.profile_rows),
            label=self.label,
            rna=cells,
            ks=self.ks,
            n_peaks=self.atlas.n_peaks,
            peak_deviations=peaks.deviation is not None,
        )

    def _against_rna(
        self, model: Model, peaks: _Embedded, cells: RnaCells | None, on_event: Subscriber
    ) -> RnaMeasures | None:
        if self.rna is None or cells is None:
            return None
        genes = self.rna.genes
        return measure_rna(
            self.rna,
            cells,
            self.atlas,
            embedding=model.cell_embedding,
            h=None if genes is None else peaks.denoising(genes.peaks),
            ks=self.ks,
            on_event=on_event,
        )

    def _baselines(
        self, model: Model, peaks: _Embedded, cells: RnaCells | None, on_event: Subscriber
    ) -> BaselineTable | None:
        if (chosen := self.baselines) is None:
            return None
        return measure_baselines(
            chosen,
            model,
            self.atlas,
            self.rows,
            h=peaks.denoising(chosen.sampled),
            h_held_out=peaks.h_of(self.rows),
            judge=Judge(chosen.cells, self.label, cells, self.ks, self.cluster),
            on_event=on_event,
        )


class _Embedded(NamedTuple):
    """Embeddings of some of the atlas's peaks."""

    rows: NDArray[np.int64]
    """Rising."""
    h: NDArray[np.float32]
    """Of their sequences, (peaks, E)."""
    deviation: NDArray[np.float32] | None
    """Beside these, where the model's peaks deviate."""

    def h_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return embeddings of the sequences of `rows`."""
        return self.h[np.searchsorted(self.rows, rows)]

    def denoising(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return embeddings of `rows` as `denoise` takes them, deviations included."""
        at = np.searchsorted(self.rows, rows)
        return self.h[at] if self.deviation is None else self.h[at] + self.deviation[at]
