"""Everything that a report shows, gathered from the stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.model_source import model_identity
from atlasbasset.engine.state import final_solve_of
from atlasbasset.verbs.report.findings import checks
from atlasbasset.verbs.report.findings.activity import activity_of, holds_embeddings_of
from atlasbasset.verbs.report.findings.agreement import agreement_of, mixing_of
from atlasbasset.verbs.report.findings.cell_map import clusters_of, umap_of
from atlasbasset.verbs.report.findings.cells import sample_cells
from atlasbasset.verbs.report.findings.costs import Stopwatch, peak_memory_bytes
from atlasbasset.verbs.report.findings.heat import heat_of
from atlasbasset.verbs.report.findings.loci import loci_of
from atlasbasset.verbs.report.findings.logos import logos_of
from atlasbasset.verbs.report.findings.missing import Missing
from atlasbasset.verbs.report.findings.origin import origins, version_warning
from atlasbasset.verbs.report.findings.predictions import predictions_of
from atlasbasset.verbs.report.findings.training import training_of
from atlasstore.events import Notice

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
    from atlasbasset.verbs.report.findings.loci import Locus
    from atlasbasset.verbs.report.findings.logos import Logo
    from atlasbasset.verbs.report.findings.origin import StoreOrigin
    from atlasbasset.verbs.report.findings.predictions import Predictions
    from atlasbasset.verbs.report.findings.training import Training
    from atlasbasset.verbs.report.given import Evaluated, Given
    from atlasbasset.verbs.report.options import ReportOptions
    from atlasstore.events import Subscriber

__all__ = ["Findings", "gather"]

_PARTS = 9


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
    loci: tuple[Locus, ...] | Missing
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

    watch, model = Stopwatch(heard, _PARTS), given.model.loaded
    cells = sample_cells(model, keys, max_cells=options.max_cells, seed=options.seed)
    shown = _shown(given, cells, options, watch, heard)
    found = origins(given)
    said += [sentence for sentence in (version_warning(found),) if sentence]
    said += given.model.store.newest().state.get("notices") or []
    return Findings(
        options=options,
        origins=found,
        n_peaks=None if given.atlas is None else given.atlas.n_peaks,
        checks=_checks(given, keys, cells, shown["predictions"]),
        notices=tuple(dict.fromkeys(said)),
        training=training_of(given.model.store.newest(), given.model.store.config),
        evaluations=given.evaluations,
        cells=cells,
        **shown,
        seconds=dict(watch.seconds),
        memory_bytes=peak_memory_bytes(),
    )


def _shown(
    given: Given,
    cells: SampledCells,
    options: ReportOptions,
    watch: Stopwatch,
    on_event: Subscriber,
) -> dict[str, Any]:
    """Return the parts that take time, by their names in `Findings`."""
    model, seed = given.model.loaded, options.seed
    with watch.part("predictions"):
        predictions = predictions_of(model, given.atlas, cells, options, on_event)
    with watch.part("map of the cells"):
        plane = umap_of(cells.embedding, seed=seed)
    with watch.part("clusters"):
        clusters = clusters_of(cells.embedding, seed=seed)
    with watch.part("agreement with labels"):
        agreement = agreement_of(cells, clusters, given.atlas, options, on_event)
    with watch.part("mixing of batches"):
        mixing = mixing_of(cells, options)
    with watch.part("TF activity"):
        groups = cells.label or clusters
        activity = activity_of(given.activity, cells, groups, options.tfs, model=model.url)
    with watch.part("heat maps"):
        heat = heat_of(predictions, cells, seed=seed)
    with watch.part("tracks"):
        loci = loci_of(given.tracks, options.loci, model=model.url)
    with watch.part("logos"):
        logos = logos_of(given.ism, model=model.url)
    return {
        "predictions": predictions,
        "plane": plane,
        "clusters": clusters,
        "agreement": agreement,
        "mixing": mixing,
        "activity": activity,
        "heat": heat,
        "loci": loci,
        "logos": logos,
    }


def _checks(
    given: Given, keys: Keys, cells: SampledCells, predictions: Predictions | Missing
) -> tuple[Check, ...]:
    state = given.model.store.newest().state
    history, solved = state.get("history") or [], final_solve_of(state)
    found = [
        checks.assembly_check(given.atlas),
        checks.overlap_check(given.atlas, given.model.store),
        *([] if isinstance(predictions, Missing) else [checks.held_out_check(predictions)]),
        checks.depth_check(cells),
        checks.confounding_check(keys.label, keys.batch, keys.lone_batch),
        checks.convergence_check(history, solved, cells.n_all),
    ]
    results = [store for store in (given.activity, given.tracks) if store is not None]
    if results:
        found.append(checks.same_model_check(_of_other_models(given, cells)))
    return tuple(found)


def _of_other_models(given: Given, cells: SampledCells) -> list[str]:
    """Return the results that were made with another model."""
    found = []
    if given.activity is not None and not holds_embeddings_of(given.activity, cells):
        found.append(given.activity.url)
    if given.tracks is not None:
        recorded = given.tracks.about.get("model_identity") or {}
        ours = model_identity(given.model.loaded)
        if any(ours.get(part) != digest for part, digest in recorded.items()):
            found.append(given.tracks.url)
    return found
