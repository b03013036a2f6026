"""Everything that a report shows, gathered from the stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlasbasset.verbs.report.findings import checks
from atlasbasset.verbs.report.findings.activity import activity_of, holds_embeddings_of
from atlasbasset.verbs.report.findings.agreement import agreement_of, mixing_of
from atlasbasset.verbs.report.findings.cell_map import clusters_of, umap_of
from atlasbasset.verbs.report.findings.cells import sample_cells
from atlasbasset.verbs.report.findings.costs import Stopwatch, peak_memory_bytes
from atlasbasset.verbs.report.findings.heat import heat_of
from atlasbasset.verbs.report.findings.logos import logos_of
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.findings.origin import origins, version_warning
from atlasbasset.verbs.report.findings.predictions import predictions_of
from atlasbasset.verbs.report.findings.training import training_of
from atlasstore.events import Notice, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.verbs.report.findings.activity import TfActivity
    from atlasbasset.verbs.report.findings.agreement import Agreement, Mixing
    from atlasbasset.verbs.report.findings.cells import Keys, SampledCells
    from atlasbasset.verbs.report.findings.checks import Check
    from atlasbasset.verbs.report.findings.heat import Heat
    from atlasbasset.verbs.report.findings.logos import Logo
    from atlasbasset.verbs.report.findings.origin import StoreOrigin
    from atlasbasset.verbs.report.findings.predictions import Predictions
    from atlasbasset.verbs.report.findings.training import Training
    from atlasbasset.verbs.report.given import Evaluated, Given
    from atlasbasset.verbs.report.options import ReportOptions
    from atlasstore.events import Subscriber

__all__ = ["Findings", "gather"]

_PARTS = 8


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class Findings:
    """The parts of a report; `Missing` where one cannot be shown."""

    options: ReportOptions
    origins: tuple[StoreOrigin, ...]
    n_peaks: int | None
    checks: tuple[Check, ...]
    notices: tuple[str, ...]
    """Sentences that were said while it was made."""
    training: Training | Missing
    predictions: Predictions | Missing
    evaluations: tuple[Evaluated, ...]
    cells: SampledCells
    plane: NDArray[np.float32]
    """float32 (n, 2): the cells' map."""
    clusters: CellLabels | None
    agreement: Agreement | Missing
    mixing: Mixing | Missing
    activity: TfActivity | Missing
    logos: tuple[Logo, ...] | Missing
    heat: Heat | Missing
    seconds: Mapping[str, float]
    """Part of the report -> what it took."""
    memory_bytes: int
    """The most that the process had held by then."""

    @property
    def groups(self) -> CellLabels | None:
        """Labels; where there are none, clusters."""
        return self.cells.label or self.clusters


def gather(given: Given, keys: Keys, options: ReportOptions, on_event: Subscriber) -> Findings:
    """Compute all parts, one after another."""
    said = list(keys.notices)

    def heard(event: object) -> None:
        if isinstance(event, Notice):
            said.append(event.message)
        on_event(event)

    return _Gathering(given, keys, options, heard, said).findings()


class _Gathering:
    """The work of `gather`: each part by itself, timed."""

    def __init__(
        self,
        given: Given,
        keys: Keys,
        options: ReportOptions,
        on_event: Subscriber,
        said: list[str],
    ) -> None:
        self.given, self.keys, self.options = given, keys, options
        self.on_event, self.said = on_event, said
        self.watch, self.done = Stopwatch(), 0

    def findings(self) -> Findings:
        given, options = self.given, self.options
        model = given.model.loaded
        cells = sample_cells(model, self.keys, max_cells=options.max_cells, seed=options.seed)
        with self.watch.part("predictions"):
            predictions = predictions_of(model, given.atlas, cells, options, self.on_event)
        self._tell("the map of the cells")
        with self.watch.part("map of the cells"):
            metric = "euclidean" if model.deviations is None else "cosine"
            plane = umap_of(cells.embedding, seed=options.seed, metric=metric)
        self._tell("clusters")
        with self.watch.part("clusters"):
            clusters = clusters_of(cells.embedding, seed=options.seed)
        self._tell("agreement with labels")
        with self.watch.part("agreement with labels"):
            agreement = agreement_of(cells, clusters, given.atlas, options, self.on_event)
            mixing = mixing_of(cells, options)
        self._tell("TF activity")
        with self.watch.part("TF activity"):
            groups = cells.label or clusters
            activity = activity_of(
                given.activity, cells, groups, options.tfs, model=given.model.url
            )
        self._tell("heat maps")
        with self.watch.part("heat maps"):
            heat = heat_of(predictions, cells, seed=options.seed)
        self._tell("logos")
        with self.watch.part("logos"):
            logos = logos_of(given.ism, model=given.model.url)
        self._tell("provenance")
        found = origins(given)
        training = training_of(given.model.store.newest(), given.model.store.config)
        if (warning := version_warning(found)) is not None:
            self.said.append(warning)
        self._tell("checks")
        return Findings(
            options=options,
            origins=found,
            n_peaks=None if given.atlas is None else given.atlas.n_peaks,
            checks=self._checks(cells, predictions),
            notices=tuple(dict.fromkeys(self.said)),
            training=training,
            predictions=predictions,
            evaluations=given.evaluations,
            cells=cells,
            plane=plane,
            clusters=clusters,
            agreement=agreement,
            mixing=mixing,
            activity=activity,
            logos=logos,
            heat=heat,
            seconds=dict(self.watch.seconds),
            memory_bytes=peak_memory_bytes(),
        )

    def _tell(self, _part: str) -> None:
        self.done += 1
        self.on_event(Progress("gathering the report", self.done, _PARTS, "parts"))

    def _checks(self, cells: SampledCells, predictions: Predictions | Missing) -> tuple[Check, ...]:
        given, state = self.given, self.given.model.store.newest().state
        found = [checks.assembly_check(given.atlas), checks.overlap_check(given.atlas)]
        if not isinstance(predictions, Missing):
            found.append(checks.held_out_check(predictions))
        found += [
            checks.depth_check(cells),
            checks.confounding_check(self.keys.label, self.keys.batch),
            checks.convergence_check(
                state.get("history") or [], state.get("polished"), cells.n_all
            ),
        ]
        of_cells = [given.activity] if given.activity is not None else []
        others = [one.url for one in of_cells if not holds_embeddings_of(one, cells)]
        return (*found, checks.same_model_check(others)) if of_cells else tuple(found)
