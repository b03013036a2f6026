"""Whether the figures can be trusted: checks of the input, the split and the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from atlasbasset.metrics import depth_correlation
from atlasbasset.metrics.confounding import batch_groups
from atlasbasset.verbs.shared.held_out import seen_by_cells
from atlasstore.atlas.split import held_out_overlap
from atlasstore.genome.peak_check import recorded_check, what_is_wrong
from atlasstore.text_units import count, counted, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.verbs.report.findings.cells import SampledCells
    from atlasbasset.verbs.report.findings.predictions import Predictions
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.models.model_store import ModelStore

__all__ = [
    "Check",
    "Verdict",
    "assembly_check",
    "confounding_check",
    "convergence_check",
    "depth_check",
    "held_out_check",
    "overlap_check",
    "same_model_check",
]

Verdict = Literal["passed", "warning", "unknown"]

_DEPTH_LEAST = 0.8
_FEW_PEAKS = 100


@dataclass(frozen=True, slots=True)
class Check:
    """One check, what was found and what it means."""

    name: str
    verdict: Verdict
    says: str
    """A sentence or two."""


def assembly_check(atlas: Atlas | None) -> Check:
    """Tell whether peaks look like peaks of the genome, as preprocess found."""
    name = "Peaks lie on this genome"
    recorded = None if atlas is None else atlas.provenance.get("peak_check")
    found = recorded_check(recorded)
    if found is None:
        why = "no atlas was given" if atlas is None else "the atlas has no record of it"
        return Check(name, "unknown", f"Not known: {why}.")
    if (wrong := what_is_wrong(found)) is not None:
        return Check(name, "warning", wrong[0].upper() + wrong[1:])
    if found.gc_auroc_shifted is None or found.count_correlation is None:
        return Check(
            name, "unknown", f"Too few peaks to tell ({count(found.n_judged)} could be judged)."
        )
    return Check(
        name,
        "passed",
        f"Peaks differ from sequence 10 kb away in GC (auROC {found.gc_auroc_shifted:.2f}; 0.5 is "
        f"no difference), and sequence predicts how often a peak is open "
        f"(r {found.count_correlation:.2f}): assembly, coordinates and order fit.",
    )


def overlap_check(atlas: Atlas | None, model: ModelStore | None = None) -> Check:
    """Tell whether held-out windows share bases with training windows, or cells saw labels."""
    name = "Held-out peaks are unseen"
    seen = () if model is None else (seen_by_cells(model, split) for split in ("test", "valid"))
    if sentence := next(filter(None, seen), None):
        return Check(name, "warning", sentence)
    if atlas is None:
        return Check(name, "unknown", "Not known: no atlas was given.")
    found = held_out_overlap(atlas.var, window_bp=atlas.window_bp, flank_bp=atlas.flank_bp)
    method = atlas.provenance.get("config", {}).get("split", "not recorded")
    shares = [f"{share(value)} of the {split} windows" for split, value in found.items() if value]
    if not shares:
        text = f"No held-out window shares a base with a training window (split: {method})."
        return Check(name, "passed", text)
    return Check(
        name,
        "warning",
        f"{' and '.join(shares).capitalize()} share bases with training windows (split: {method}). "
        "They are left out of the figures below; auROCs of training are too good. preprocess "
        "with --split grouped has none such.",
    )


def depth_check(cells: SampledCells) -> Check:
    """Tell whether the intercept, not the embedding, holds sequencing depth."""
    name = "The intercept follows depth"
    r = float("nan")
    if cells.depth is not None:
        r = depth_correlation(cells.intercept, cells.depth)
    if np.isnan(r):
        return Check(name, "unknown", "Not known: the model's cells have no number of open peaks.")
    meaning = (
        "depth is in the intercept, as it should be, and not in the embedding."
        if r >= _DEPTH_LEAST
        else f"below {_DEPTH_LEAST}, some depth may be left in the embedding: colour the map below "
        "by depth."
    )
    verdict: Verdict = "passed" if r >= _DEPTH_LEAST else "warning"
    return Check(name, verdict, f"r = {r:.3f} of intercept and log10 open peaks: {meaning}")


def confounding_check(
    label: CellLabels | None, batch: CellLabels | None, lone_batch: str | None = None
) -> Check:
    """Tell whether every batch shares labels with the others; `lone_batch` has no others."""
    name = "Batches can be told from cell types"
    if batch is None and lone_batch is not None:
        text = f"All cells are of one batch ({lone_batch}): there is nothing to tell apart."
        return Check(name, "passed", text)
    if label is None or batch is None:
        missing = " and ".join(
            option
            for option, given in (("--label-key", label), ("--batch-key", batch))
            if given is None
        )
        return Check(name, "unknown", f"Not known: name the columns with {missing}.")
    groups = batch_groups(label.values(), batch.values())
    if len(groups) < 2:
        text = "Cell types join all batches, so that differences of batches can be seen as such."
        return Check(name, "passed", text)
    listed = " | ".join(", ".join(group[:5]) + " ..." * (len(group) > 5) for group in groups[:5])
    return Check(
        name,
        "warning",
        f"No label joins these batches: {listed}. Between them a batch's effect cannot be told "
        "from its cell types; no method could.",
    )


def held_out_check(found: Predictions) -> Check:
    """Tell whether the model predicts sequences it has not seen."""
    name = "Unseen sequence is predicted"
    mean, interval = found.quality.mean_auroc_per_cell, found.certainty.auroc_per_cell
    n_peaks = len(found.rows)
    few = (
        f" Only {count(n_peaks)} peaks were held out: chance moves the figure."
        if n_peaks < _FEW_PEAKS
        else ""
    )
    known = "" if interval is None else f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})"
    text = f"Mean auROC per cell is {mean:.3f}{known} on {count(n_peaks)} held-out peaks"
    if not mean > 0.5 or (interval is not None and interval[0] <= 0.5):
        return Check(name, "warning", f"{text}: no better than chance (0.5).{few}")
    return Check(name, "warning" if few else "passed", f"{text}; chance is 0.5.{few}")


def convergence_check(
    history: Sequence[Mapping[str, Any]], solved: Mapping[str, Any] | None, n_cells: int
) -> Check:
    """Tell whether training reached an end: the cells are solved, the loss is a number."""
    name = "Training ended in order"
    if not history:
        return Check(name, "unknown", "Not known: the model holds no record of its training.")
    if history[-1].get("loss") is None:
        return Check(name, "warning", "The loss of the last epoch is no number: it diverged.")
    done = counted(len(history), "epochs")
    if solved is None:
        return Check(name, "passed", f"{done}; the cells are those of the last step.")
    n_converged = int(solved.get("n_converged", 0))
    if n_converged < n_cells:
        text = f"{done}, but only {count(n_converged)} of {count(n_cells)} cells were solved."
        return Check(name, "warning", text)
    return Check(name, "passed", f"{done}, and every cell solved exactly at the end.")


def same_model_check(urls: Sequence[str]) -> Check:
    """Tell whether results were made with this model, of those that were not."""
    name = "Results are of this model"
    if not urls:
        return Check(name, "passed", "The results were made with this model as it stands.")
    text = (
        f"{', '.join(urls)} hold what another model says: made before this one was trained "
        "further, or with another one. Make them again."
    )
    return Check(name, "warning", text)
