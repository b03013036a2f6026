"""`motifs`: what every TF's motif does to accessibility in every cell.

Shuffled peaks with and without a sequence drawn from a motif are embedded; the mean difference of
the embeddings is the motif's effect, and its product with a cell's embedding the TF's activity in
that cell. The product is made after the mean, so the cost is (backgrounds x motifs) insertions plus
(cells x motifs) numbers, never backgrounds x cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlasbasset.verbs.motifs.plan import ActivityScale, MotifsPlan, plan_motifs
from atlasbasset.verbs.motifs.report import MotifReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif

__all__ = ["ActivityScale", "MotifReport", "MotifsPlan", "motif_activity", "plan_motifs"]


def motif_activity(
    model: str | Path | Model,
    atlas: str | Path | Atlas,
    *,
    motifs: str | Path | Sequence[Motif],
    out: str | Path,
    obs: Obs | None = None,
    n_backgrounds: int = 1000,
    split: Split = "all",
    seed: int = 0,
    scale: ActivityScale = "linear",
    both_strands: bool = False,
    shuffled: int = 0,
    compute: Compute = "fp32",
    convolution: ConvolutionChoice = "auto",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber | None = None,
) -> MotifReport:
    """Score what each motif does to accessibility in each cell, by inserting it into sequences.

    ``activity[c, m] = mean over backgrounds of (h_motif - h_background) . W[c]``, then z-scored
    over the cells (docs/method.md, "TF activity").

    Parameters
    ----------
    model
        A model, or the URL of its store. Of a batch-corrected one the cells' own embeddings count.
    atlas
        Gives the peaks that are shuffled, or its URL; its cells are not looked at.
    motifs
        A MEME file, or motifs; of several with one name all but the first get a number behind it.
    out
        URL of the new result: an AnnData zarr, cells x motifs, float32 z-scores; ``var`` has the
        mean and sd of the raw activity, so ``X * sd + mean`` is the raw activity, on the linear
        scale also ``obsm["X_scbasset"] @ varm["scbasset_sequence"].T``. A motif whose activity is
        the same in all cells has z-scores of 0.
    obs
        Table of cells that was made after the model: a CSV, TSV or AnnData at a path or URL, or a
        pandas table. Its columns go into the result's obs, matched by the cells' names.
    n_backgrounds
        Peaks drawn and shuffled, dinucleotides kept; with more than the split holds, peaks are
        drawn again, each time shuffled again.
    split
        Peaks to draw from.
    seed
        Of peaks, shuffles and sequences drawn from motifs, 0 or more. A motif's sequences follow
        from the seed and its name, whatever else the file holds.
    scale
        "linear", or "sigmoid": the mean is taken after a sigmoid, which costs backgrounds x motifs
        x cells evaluations.
    both_strands
        Take the mean over every sequence and its reverse complement, at twice the cost.
    shuffled
        Above 0, score in the place of each motif as many copies with its positions in random order,
        ``NAME~1`` and so on: what `differential` holds the motifs to. 0 scores the motifs.
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own.
    convolution
        How float32 convolutions on CPU are computed: "direct", "minimal" (fewer multiplications),
        or "auto", what is faster on this machine.
    workers
        Ray Data actors that share the backgrounds, then the cells; 0 works in this process. The
        result is the same, bit for bit where as many CPU threads compute.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker computes on its GPU if it has one.
    on_event
        Called with `Progress` and `Notice`; by default a bar is shown on a terminal or in a
        notebook.

    Examples
    --------
    >>> report = motif_activity(
    ...     "model.zarr", "atlas.zarr", motifs="jaspar.meme", out="activity.zarr"
    ... )  # doctest: +SKIP
    >>> report.most_variable  # doctest: +SKIP

    Raises
    ------
    UserInputError
        When an option, the motifs or the atlas's window do not fit, or the workers cannot be had
        or cannot reach what they need.
    MotifError
        When the file cannot be read or a motif is wider than the window.
    StoreExistsError
        When something other than this job's result exists at `out`.
    """
    plan = plan_motifs(
        model,
        atlas,
        motifs=motifs,
        out=out,
        obs=obs,
        n_backgrounds=n_backgrounds,
        split=split,
        seed=seed,
        scale=scale,
        both_strands=both_strands,
        shuffled=shuffled,
        compute=compute,
        convolution=convolution,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        cpus_per_worker=cpus_per_worker,
    )
    return plan.run(on_event=on_event)
