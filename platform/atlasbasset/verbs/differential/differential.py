"""`differential`: accessibility or TF activity that differs between groups of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.differential.plan import DifferentialPlan, plan_differential
from atlasbasset.verbs.differential.report import DifferentialReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.results.result import Result

__all__ = ["DifferentialPlan", "DifferentialReport", "differential", "plan_differential"]


def differential(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    group_by: str,
    out: str | Path,
    groups: Sequence[str] | None = None,
    reference: str = "rest",
    covariates: Sequence[str] = (),
    motifs: str | Path | Result | None = None,
    shuffled: str | Path | Result | None = None,
    obs: Obs | None = None,
    min_cells: int = 10,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> DifferentialReport:
    """Test which peaks, or motifs, differ between groups of cells, at equal depth.

    A peak's test is a logistic regression of its labels on the group, the cells' depth (from the
    model's intercepts) and covariates, with Firth's penalty, by the penalised likelihood ratio; a
    motif's is least squares of its activity on the same, with robust errors (docs/differential.md).

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        The atlas of its cells, or its URL.
    group_by
        Column of `obs`, or of the model's obs, with the groups. Groups that were made by clustering
        these very cells give p-values that are too small.
    out
        Path or URL of the table: ``.parquet``, ``.csv`` or ``.tsv`` (also ``.gz``).
    groups
        Groups to test, each against the reference; all by default.
    reference
        Another group, or "rest": all other cells with a label.
    covariates
        Columns of categories (donors, lanes) whose effects are accounted for.
    motifs
        TF activity (`motif_activity`), or its URL: motifs are tested and not peaks.
    shuffled
        The same of shuffled copies (``motif_activity(..., shuffled=10)``), which a motif is held
        to; without them p-values know the draw of cells alone.
    obs
        Table of cells with these columns, matched by name; by default the model's obs.
    min_cells
        Peaks that are open, or closed, in fewer of the compared cells are not tested.
    compute, convolution
        Arithmetic of the peaks' embeddings, as for `load_model`.
    workers, gpus_per_worker, cpus_per_worker
        As for `denoise`. Killed, the same call resumes.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Returns
    -------
    DifferentialReport
        The table has a row per group and peak: peak, chrom, start, end, group, reference,
        open_share, open_share_reference, effect (log odds ratio at equal depth), standard_error, p,
        q (Benjamini-Hochberg in the group), model_effect (the same, denoised: what sequences say);
        or per group and motif: motif, tf, group, reference, effect (sd of the activity),
        shuffled_effect, standard_error (of the difference of the two), p, q.

    Examples
    --------
    >>> found = differential("model.zarr", "atlas.zarr", group_by="cell_type", groups=["B cell"],
    ...                      covariates=["donor"], out="peaks.tsv")  # doctest: +SKIP
    >>> found.groups[0].n_higher  # doctest: +SKIP

    Raises
    ------
    UserInputError
        A column, group or option does not fit, covariates tell groups apart, or model, atlas and
        activity are of other cells.
    StoreExistsError
        When something exists at `out`.
    """
    plan = plan_differential(
        model,
        atlas,
        group_by=group_by,
        out=out,
        groups=groups,
        reference=reference,
        covariates=covariates,
        motifs=motifs,
        shuffled=shuffled,
        obs=obs,
        min_cells=min_cells,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
