"""`motifs`: what every TF's motif does to accessibility in every cell.

Shuffled peaks with and without a sequence drawn from a motif are embedded; the mean difference of
the embeddings is the motif's effect, and its product with a cell's embedding the TF's activity in
that cell. The product is made after the mean, so the cost is (backgrounds x motifs) insertions plus
(cells x motifs) numbers, never backgrounds x cells.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.inference.cell_labels import Obs, joined_columns
from atlasbasset.inference.model import Model, as_model
from atlasbasset.verbs.motifs.insertion import check_widths
from atlasbasset.verbs.motifs.stages import InsertionOptions, MotifStages
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.split import split_rows
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.genome.motifs import read_motifs
from atlasstore.results.result import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlasbasset.core.compute import Compute
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.models.model_store import ModelStore

__all__ = ["ActivityScale", "InsertionOptions", "MotifReport", "check_insertion", "motif_activity"]

ActivityScale = Literal["linear", "sigmoid"]
_SCALES: tuple[ActivityScale, ...] = ("linear", "sigmoid")
_N_TOLD = 10


@dataclass(frozen=True, slots=True)
class MotifReport:
    """What was written."""

    result: str
    """URL of the result."""
    n_cells: int
    n_motifs: int
    n_backgrounds: int
    scale: str
    dense_bytes: int
    """Size of the z-scores before compression."""
    most_variable: tuple[str, ...]
    """TFs whose raw activity differs most between cells, at most 10, the first one most."""
    was_finished: bool
    """Whether the very same job had made the result before, so that nothing was done."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "most_variable": list(self.most_variable)}


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
    compute: Compute = "fp32",
    workers: int = 0,
    gpus_per_worker: float = 0,
    cpus_per_worker: float = 1,
    on_event: Subscriber = ignore,
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
        drawn again, each time shuffled anew.
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
    compute
        Arithmetic of the convolutions, as for `load_model`; a `Model` keeps its own.
    workers
        Ray Data actors that share the backgrounds, then the cells; 0 works in this process. The
        result is the same, bit for bit where as many CPU threads compute.
    gpus_per_worker, cpus_per_worker
        What each worker reserves; a worker computes on its GPU if it has one.
    on_event
        Hears `Progress` and `Notice`.

    Raises
    ------
    UserInputError
        When an option, the motifs or the atlas's window do not fit, or the workers cannot be had
        or cannot reach what they need.
    MotifError
        When the file cannot be read or a motif is wider than the window.
    StoreExistsError
        When anything but this very job's result lies at `out`.
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    chosen, renamed = read_motifs(motifs)
    loaded = as_model(model, compute=compute)
    source = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    options = InsertionOptions(n_backgrounds, split, seed, scale, both_strands)
    check_insertion(chosen, source, options, model=loaded.store)
    file = str(motifs) if isinstance(motifs, str | Path) else None
    labels, told = (None, None) if obs is None else joined_columns(loaded.obs, obs, what=loaded.url)
    work = MotifStages(loaded, source, chosen, file, labels, options, pool, on_event)
    for sentence in (renamed, told):
        if sentence:
            on_event(Notice(sentence))
    was_finished = run_job(out, work.run, identity=work.identity, pool=pool, on_event=on_event)
    return _report(str(out), work, was_finished=was_finished)


def _report(out: str, work: MotifStages, *, was_finished: bool) -> MotifReport:
    spread = Result.open(out).var.sort_values("sd", ascending=False, kind="stable")
    return MotifReport(
        result=out,
        n_cells=work.model.n_cells,
        n_motifs=len(work.motifs),
        n_backgrounds=work.options.n_backgrounds,
        scale=work.options.scale,
        dense_bytes=work.plan.n_bytes,
        most_variable=tuple(spread["tf"].iloc[:_N_TOLD].astype(str)),
        was_finished=was_finished,
    )


def check_insertion(
    motifs: Sequence[Motif],
    atlas: Atlas,
    options: InsertionOptions,
    *,
    model: ModelStore,
) -> None:
    """Raise what `motif_activity` raises of motifs, atlas and options."""
    if options.n_backgrounds < 1:
        raise UserInputError(f"n_backgrounds must be 1 or more, got {options.n_backgrounds}.")
    if options.seed < 0:
        raise UserInputError(f"seed must be 0 or more, got {options.seed}.")
    if options.scale not in _SCALES:
        raise UserInputError(f"scale must be one of {', '.join(_SCALES)}, got {options.scale!r}.")
    if not motifs:
        raise UserInputError("there are no motifs; give at least one.")
    check_window(model, atlas)
    check_widths(motifs, atlas.window_bp)
    split_rows(atlas, options.split)
