"""`evaluate`: how good a model is, on the peaks it has not seen and on its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.verbs.evaluate.baselines import baseline_input
from atlasbasset.verbs.evaluate.cells import checked_keys
from atlasbasset.verbs.evaluate.plan import EvaluatePlan
from atlasbasset.verbs.evaluate.profiles import profile_peaks
from atlasbasset.verbs.evaluate.retrain import check_retraining
from atlasbasset.verbs.evaluate.rna_input import checked_rna
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.held_out import judged_rows, seen_by_cells
from atlasbasset.verbs.shared.plan import PlannedModel
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import anndata

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.evaluate.evaluation import Evaluation
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Notice, Subscriber
    from atlasstore.models.model_store import ModelStore

__all__ = ["evaluate", "plan_evaluate"]


def evaluate(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    split: Split = "test",
    label_key: str | None = None,
    batch_key: str | None = None,
    obs: Obs | None = None,
    ks: Sequence[int] = (10, 50, 100),
    cluster: bool = False,
    denoised: bool = False,
    rna: str | Path | anndata.AnnData | None = None,
    rna_layer: str | None = None,
    rna_embedding: str | None = None,
    genes: str | Path | None = None,
    baselines: bool = False,
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    retrain: bool = False,
    on_event: Subscriber | None = None,
) -> Evaluation:
    """Measure a model against an atlas of its cells.

    Predictions are with the intercept, and with the batch terms of a batch-corrected model: they
    stand for what was observed. Measures of the embedding use the cell embedding alone.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        An atlas of the same cells in the same order, or its URL.
    split
        Peaks to predict: "train", "valid", "test" or "all". Of "valid" and "test", those whose
        windows share a base with a training window are left out.
    label_key
        Column of obs with each cell's label (cell type): adds the label score.
    batch_key
        Column of obs with each cell's batch: adds kBET and iLISI. Cells without a label or batch
        (missing, empty text or "nan") are left out of the measures that need it.
    obs
        Table of cells with these columns, made after the model: a CSV, TSV or AnnData at a path or
        URL, or a pandas table; matched by the cells' names. By default the atlas's obs.
    ks
        Neighbours of the label score.
    cluster
        With `label_key`: also cluster the cells and compare, and compute the silhouette.
    denoised
        With `label_key` or `rna`: also judge denoised profiles, of 10,000 peaks at most.
    rna
        Expression of the same cells, matched by name: an AnnData, or path or URL of an ``.h5ad``,
        ``.zarr`` or ``.h5mu`` (its modality "rna"). Counts are log-normalised, other values taken
        as they are. Adds the neighbor score; with `genes` also correlations and R_c.
    rna_layer
        Layer of the RNA with the values; X by default.
    rna_embedding
        Key of the RNA's obsm with an embedding for the neighbor score; by default 50 principal
        components of its 2,000 most variable genes.
    genes
        With `rna`: GTF or GFF3 of the RNA's genes, as for `denoise`.
    baselines
        Also measure what can be had without the model or from less, on the same cells and split:
        at most 10,000 cells, and sequences of 20,000 training peaks.
    workers, gpus_per_worker, cpus_per_worker
        Ray Data actors that embed sequences, read labels and
        rank predictions, and what each reserves; 0 workers: this process.
    retrain
        With `baselines`: also train the whole model again on fewer reads and on shuffled labels, as
        the paper does: seven trainings as long as the model's own.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> found = evaluate("model.zarr", "atlas.zarr", label_key="cell_type")  # doctest: +SKIP
    >>> found.prediction.mean_auroc_per_cell, found.labels.mean[50]  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When model and atlas do not fit together, the split has no peaks, obs lacks a column, the
        batches are none (one alone, or as many as cells), or RNA and genes do not fit the atlas.
    MissingExtraError
        When `cluster` is asked for and igraph is not installed.
    """
    plan = plan_evaluate(
        model,
        atlas,
        split=split,
        label_key=label_key,
        batch_key=batch_key,
        obs=obs,
        ks=ks,
        cluster=cluster,
        denoised=denoised,
        rna=rna,
        rna_layer=rna_layer,
        rna_embedding=rna_embedding,
        genes=genes,
        baselines=baselines,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
        retrain=retrain,
    )
    return plan.run(on_event=on_event)


def plan_evaluate(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    split: Split = "test",
    label_key: str | None = None,
    batch_key: str | None = None,
    obs: Obs | None = None,
    ks: Sequence[int] = (10, 50, 100),
    cluster: bool = False,
    denoised: bool = False,
    rna: str | Path | anndata.AnnData | None = None,
    rna_layer: str | None = None,
    rna_embedding: str | None = None,
    genes: str | Path | None = None,
    baselines: bool = False,
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    retrain: bool = False,
) -> EvaluatePlan:
    """Plan `evaluate`: check its input; nothing is computed.

    Parameters are those of `evaluate`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_evaluate("model.zarr", "atlas.zarr"))  # doctest: +SKIP
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    planned = PlannedModel.of(model)
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    check_window(planned.store, cells)
    check_same_cells(planned.store, cells)
    _check_options(
        label_key,
        cluster=cluster,
        denoised=denoised,
        rna=rna,
        of_rna=(rna_layer, rna_embedding, genes),
    )
    if retrain:
        _check_retrain(planned.store, baselines=baselines)
    said: list[Notice] = []
    rows, n_overlapping = judged_rows(cells, split, said.append)
    keys = checked_keys(cells, label_key, batch_key, obs)
    beside = None
    if rna is not None:
        beside = checked_rna(
            rna, cells, layer=rna_layer, embedding=rna_embedding, genes=genes, ks=ks
        )
    return EvaluatePlan(
        planned,
        cells,
        split,
        rows,
        keys.label,
        keys.batch,
        tuple(ks),
        cluster,
        (
            *keys.notices,
            *filter(None, [seen_by_cells(planned.store, split)]),
            *(notice.message for notice in said),
            *(() if beside is None else beside.notices),
        ),
        n_overlapping,
        beside,
        profile_peaks(cells.n_peaks) if denoised else None,
        baseline_input(cells, split, n_cells=planned.n_cells, retrain=retrain)
        if baselines
        else None,
        pool,
    )


def _check_retrain(store: ModelStore, *, baselines: bool) -> None:
    if not baselines:
        raise UserInputError(
            "training again (retrain) adds rows to the baselines; ask for these (baselines)."
        )
    check_retraining(store)


def _check_options(
    label_key: str | None,
    *,
    cluster: bool,
    denoised: bool,
    rna: object,
    of_rna: tuple[object, ...],
) -> None:
    if cluster and label_key is None:
        raise UserInputError(
            "clusters (cluster) are compared with labels; name the column of labels (label_key)."
        )
    if denoised and label_key is None and rna is None:
        raise UserInputError(
            "denoised profiles (denoised) are judged by labels or by RNA; name the column of "
            "labels (label_key) or give the RNA (rna)."
        )
    if rna is None and any(option is not None for option in of_rna):
        raise UserInputError(
            "layer, embedding and genes (rna_layer, rna_embedding, genes) are those of the RNA; "
            "give it (rna)."
        )
