"""`tracks`: accessibility of groups of cells along the genome, and a page that browses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.tracks.plan import TracksPlan, plan_tracks
from atlasbasset.verbs.tracks.report import TracksReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["TracksPlan", "TracksReport", "plan_tracks", "tracks"]


def tracks(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    group_by: str,
    out: str | Path,
    obs: Obs | None = None,
    genome: str | Path | None = None,
    genome_wide: Sequence[str] = (),
    step_bp: int = 128,
    genes: str | Path | None = None,
    with_sequence: bool = False,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> TracksReport:
    """Write denoised and observed accessibility of groups as bigWig, with a page that shows it.

    The folder is complete in itself: copied to any web server or bucket, its ``index.html`` shows
    the tracks, of which a browser reads by HTTP range requests only what it shows.

    Parameters
    ----------
    model
        A model, or the URL of its store.
    atlas
        The atlas of its cells, or its URL.
    group_by
        Column of `obs`, or of the model's obs, with the groups.
    out
        Path or URL of the new folder.
    obs
        Table of cells with the column, matched by name; by default the model's obs.
    genome
        FASTA on this machine: gives the chromosomes' lengths. Without it they end after their last
        peak.
    genome_wide
        Chromosomes, or regions ``chr1:1000-2000`` (0-based half-open), that are predicted in
        windows along the genome; needs `genome`.
    step_bp
        Distance of these windows, bp.
    genes
        GTF or GFF3, a path or URL, for the page.
    with_sequence
        Whether the folder also gets the bases of the chromosomes, for the page to show; needs
        `genome`.
    compute, convolution
        Arithmetic, as for `load_model`.
    workers, gpus_per_worker, cpus_per_worker
        As for `denoise`. Killed, the same call resumes.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> tracks("model.zarr", "atlas.zarr", group_by="cell_type", out="tracks",
    ...        genes="genes.gtf.gz")  # doctest: +SKIP

    Raises
    ------
    UserInputError
        A column, region or option does not fit, or model and atlas have other cells.
    StoreExistsError
        When something exists at `out`.
    MissingExtraError
        pybigtools or igv_notebook, which brings igv.js, is not installed.
    """
    plan = plan_tracks(
        model,
        atlas,
        group_by=group_by,
        out=out,
        obs=obs,
        genome=genome,
        genome_wide=genome_wide,
        step_bp=step_bp,
        genes=genes,
        with_sequence=with_sequence,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
