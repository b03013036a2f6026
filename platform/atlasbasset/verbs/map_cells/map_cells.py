"""`map`: the cells of an atlas onto a trained trunk, solved exactly, without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.map_cells.plan import MapPlan, plan_map_cells
from atlasbasset.verbs.map_cells.report import MapReport

if TYPE_CHECKING:
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.map_cells.peaks import PeakChoice
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["MapPlan", "MapReport", "map_cells", "plan_map_cells"]


def map_cells(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    out: str | Path,
    l2: float | None = None,
    split: Split = "train",
    label_key: str | None = None,
    obs: Obs | None = None,
    batch_key: str | None = None,
    standard_errors: bool = False,
    solve_peaks: PeakChoice = "auto",
    compute: Compute = "auto",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> MapReport:
    """Make a model of an atlas's cells with the trunk of another: no training, no random numbers.

    With the trunk frozen, each cell is an L2-regularised logistic regression of its labels on the
    peaks' embeddings; it is solved exactly (`atlasbasset.core.newton`). The cells and peaks may be
    those the model was trained on, or all new.

    Parameters
    ----------
    model
        A model, or the URL of its store; its own cells play no part.
    atlas
        The atlas with the new model's cells, or its URL.
    out
        URL of the new model store.
    l2
        Weight of ``|w|^2 / 2`` beside the cross-entropy *summed* over peaks: a Gaussian prior of
        variance 1 / l2 on each number of an embedding, so it need not grow with the peaks. By
        default that of the model's own cells, so that new ones lie among them: 10, or 30 where
        peaks deviate, unless its training was told otherwise (docs/map.md; docs/method.md, "The
        cell layer is convex").
    split
        Peaks to fit: "train" by default, so that an evaluation on the others stays honest.
    label_key
        Column with the labels of the model's cells: each new cell gets the label of its neighbours
        among them, a confidence and a novelty, as ``mapped_...`` columns of the new model's obs.
    obs
        Table of the model's cells with that column, matched by name; by default the model's obs.
    batch_key
        Column of the atlas's obs with the new cells' batches; needed where the model is
        batch-corrected. Batches that the model has keep their rows; the effects of others are
        estimated beside the model's cells, state by state, and taken away (docs/map.md).
    standard_errors
        Whether the posterior sd of every number of an embedding is stored, too, as
        ``solve/standard_error``, at the cost of about one more Newton step.
    solve_peaks
        Whether fitted peaks without a deviation get one ("on" or "off"): they are solved on the
        cells, and the cells once more (docs/peak-deviations.md). With split "all" on the model's
        own atlas these are validation and test peaks, on another's all. "auto" is "on" where the
        model's peaks deviate, on another atlas also where none did in training though they might,
        unless batches are told apart or there are fewer than 100 cells or peaks.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own. "auto" is
        decided in this process, for all workers.
    convolution
        How float32 convolutions on CPU are computed: "direct", "minimal" (fewer multiplications),
        or "auto", what is faster on this machine.
    workers
        Ray Data actors that share the work; 0 works in this process. The result is the same, bit
        for bit where as many CPU threads compute.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker computes on its GPU if it has one, else with as many
        threads as CPUs.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> report = map_cells("model.zarr", "new_atlas.zarr", out="mapped.zarr")  # doctest: +SKIP
    >>> report.converged.mean()  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When the model is batch-corrected and `batch_key` is missing, peaks are to be solved beside
        batches, its window is not the atlas's, `l2` is not above 0, the split has no peaks, cells
        have no such labels or batches, or workers could not be had or could not reach what they
        need.
    StoreExistsError
        When anything but this very job's model is stored at `out`.
    """
    plan = plan_map_cells(
        model,
        atlas,
        out=out,
        l2=l2,
        split=split,
        label_key=label_key,
        obs=obs,
        batch_key=batch_key,
        standard_errors=standard_errors,
        solve_peaks=solve_peaks,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
