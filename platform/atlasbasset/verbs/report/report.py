"""`report`: one page of what a model learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.report.plan import plan_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.report.plan import ReportWritten
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["report"]


def report(
    model: str | Path | Model,
    *stores: str | Path | Atlas,
    out: str | Path,
    label_key: str | None = None,
    batch_key: str | None = None,
    obs: Obs | None = None,
    tfs: Sequence[str] = (),
    loci: Sequence[str] = (),
    title: str | None = None,
    max_cells: int = 20_000,
    max_peaks: int = 2_000,
    seed: int = 0,
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> ReportWritten:
    """Write what a model learned as one HTML file that opens without a network.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    stores
        What was made with it, in any order: its atlas, results (TF activity, mutagenesis, others
        are listed), a folder of `tracks`, and JSON files of `evaluate`. What is not given is left
        out, with the command that makes it.
    out
        Path or URL of the page, in ``.html``. An earlier report there is replaced.
    label_key
        Column of obs with each cell's label (cell type). By default Leiden clusters are the groups.
    batch_key
        Column of obs with each cell's batch.
    obs
        Table of cells with these columns, made after the model: a CSV, TSV or AnnData at a path or
        URL, or a pandas table; matched by the cells' names. By default the model's obs.
    tfs
        TFs, or motifs, to colour the cells by; by default the most active of each group.
    loci
        Regions ``chr1:1000-20000`` (0-based half-open, at most 200,000 bp) whose tracks are shown;
        by default up to three peaks that differ most between groups, with 5,000 bp on either side.
    title
        Heading of the page.
    max_cells
        Cells that are shown and measured; of more, a seeded sample.
    max_peaks
        Held-out peaks that are predicted; of more, a seeded sample.
    seed
        Of samples, map and clusters.
    workers, gpus_per_worker, cpus_per_worker
        Ray Data actors that embed sequences and read labels, and what each reserves; 0 workers:
        this process.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> report("model.zarr", "atlas.zarr", "activity.zarr", out="report.html",
    ...        label_key="cell_type")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        A store has no place in a report, comes twice, or is of other cells; obs lacks a column; a
        TF or locus is unknown; or a number is out of range.
    StoreExistsError
        Something other than a report exists at `out`.
    MissingExtraError
        plotly or umap-learn is not installed; of tracks, pybigtools.
    """
    plan = plan_report(
        model,
        *stores,
        out=out,
        label_key=label_key,
        batch_key=batch_key,
        obs=obs,
        tfs=tfs,
        loci=loci,
        title=title,
        max_cells=max_cells,
        max_peaks=max_peaks,
        seed=seed,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
