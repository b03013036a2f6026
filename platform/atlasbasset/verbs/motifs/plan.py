"""The plan of `motifs`: what is read, computed, written and held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import run_job
from atlasbasset.core.cost import change_flops, pass_flops
from atlasbasset.inference.cell_labels import joined_columns
from atlasbasset.verbs.motifs.insertion import (
    check_widths,
    insertion_bytes,
    insertion_start,
    insertion_units,
)
from atlasbasset.verbs.motifs.report import MotifReport
from atlasbasset.verbs.motifs.stages import InsertionOptions, MotifStages
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.plan import (
    FLOAT_BYTES,
    PlannedModel,
    finished_line,
    is_finished,
    notice_lines,
    worker_count,
)
from atlasbasset.verbs.shared.split import split_rows
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.genome.motifs import read_motifs, shuffled_copies
from atlasstore.plans import Plan
from atlasstore.results.result import Result
from atlasstore.text_units import count, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.split import Split
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.models.model_store import ModelStore
    from atlasstore.plans import Lines
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = ["ActivityScale", "MotifsPlan", "plan_motifs"]

ActivityScale = Literal["linear", "sigmoid"]
_N_TOLD = 10
_GIGA = 1e9


@dataclass(frozen=True, eq=False, repr=False)
class MotifsPlan(Plan[MotifReport]):
    """Checked input of `motif_activity`, and its sizes; made by `plan_motifs`."""

    model: PlannedModel
    atlas: Atlas
    out: str
    motifs: Sequence[Motif]
    motif_file: str | None
    renamed: str | None
    """A sentence on motifs that shared a name."""
    labels: pd.DataFrame | None
    """Columns of a table of cells for the result's obs."""
    notice: str | None
    """A sentence on cells that the table lacks."""
    options: InsertionOptions
    workers: WorkerPool

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would score motifs into {self.out}"

    def _stages(self, on_event: Subscriber) -> MotifStages:
        return MotifStages(
            self.model.loaded,
            self.atlas,
            self.motifs,
            self.motif_file,
            self.labels,
            self.options,
            self.workers,
            on_event,
        )

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the result already."""
        return is_finished(self.out, lambda: self._stages(ignore).identity)

    @property
    def table(self) -> TablePlan:
        """How the z-scores are cut."""
        return MotifStages.table_of(self.model.n_cells, len(self.motifs))

    @property
    def n_sequences(self) -> int:
        """Embedded ones: backgrounds with each motif, and without any, on one strand or both."""
        return self.options.n_backgrounds * self.options.n_strands * (1 + len(self.motifs))

    @property
    def scratch_bytes(self) -> int:
        """Of embeddings, and of raw activities after a sigmoid, kept beside the result."""
        raw_bytes = self.table.n_bytes if self.options.scale == "sigmoid" else 0
        return self.n_sequences * self.model.trunk.embedding_dim * FLOAT_BYTES + raw_bytes

    @property
    def memory_bytes(self) -> int:
        """Of a worker in addition to the program."""
        widths = [motif.width for motif in self.motifs]
        options = self.options
        inserting = insertion_bytes(
            self.model.trunk, widths, options.n_backgrounds, n_strands=options.n_strands
        )
        return inserting + self.model.table_bytes

    @cached_property
    def flops(self) -> int:
        """Floating-point operations: a full pass of each background, then what motifs change."""
        trunk = self.model.trunk
        changes = (
            change_flops(trunk, insertion_start(trunk.window_bp, motif.width), motif.width)
            for motif in self.motifs
        )
        n_read = self.options.n_backgrounds * self.options.n_strands
        return n_read * (pass_flops(trunk) + sum(changes))

    @property
    def full_flops(self) -> int:
        """The same, were each sequence a full pass."""
        return self.n_sequences * pass_flops(self.model.trunk)

    def lines(self) -> Lines:
        """Return sequences, work, bytes, memory and workers."""
        values, options = self.values(), self.options
        sigmoids = [("sigmoids", count(self.model.n_cells * self.n_sequences))]
        saved = self.full_flops / self.flops
        return [
            ("cells", count(self.model.n_cells)),
            ("motifs", f"{count(len(self.motifs))} of {_widths(self.motifs)} bp"),
            *notice_lines("names", self.renamed),
            *notice_lines("labels", self.notice),
            (
                "backgrounds",
                f"{count(options.n_backgrounds)} shuffled peaks, split {options.split}",
            ),
            ("sequences", f"{count(self.n_sequences)} in {count(values['n_units'])} units"),
            ("work", f"{count(values['gflop'])} GFLOP, {saved:.1f} times less than full passes"),
            *(sigmoids if options.scale == "sigmoid" else []),
            ("z-scores", f"{size(self.table.n_bytes)} in {count(self.table.n_shards)} shards"),
            ("scratch", size(self.scratch_bytes)),
            ("memory", f"about {size(self.memory_bytes)} per worker plus the program"),
            ("arithmetic", self.model.arithmetic),
            ("workers", worker_count(self.workers)),
            *finished_line(is_finished=self.is_finished),
        ]

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        n_backgrounds, n_motifs = self.options.n_backgrounds, len(self.motifs)
        return {
            "out": self.out,
            "workers": self.workers.count,
            "n_cells": self.model.n_cells,
            "n_motifs": n_motifs,
            "n_backgrounds": n_backgrounds,
            "n_sequences": self.n_sequences,
            "n_units": len(insertion_units(n_backgrounds, n_motifs)),
            "dense_bytes": self.table.n_bytes,
            "n_shards": self.table.n_shards,
            "scratch_bytes": self.scratch_bytes,
            "memory_bytes": self.memory_bytes,
            "gflop": self.flops / _GIGA,
            "gflop_full_passes": self.full_flops / _GIGA,
        }

    def _run(self, on_event: Subscriber) -> MotifReport:
        if not self.is_finished:
            self.model.tell_arithmetic(on_event)
        work = self._stages(on_event)
        for sentence in (self.renamed, self.notice):
            if sentence:
                on_event(Notice(sentence))
        was_finished = run_job(
            self.out, work.run, identity=work.identity, pool=self.workers, on_event=on_event
        )
        return self._report(was_finished=was_finished)

    def _report(self, *, was_finished: bool) -> MotifReport:
        spread = Result.open(self.out).var.sort_values("sd", ascending=False, kind="stable")
        return MotifReport(
            result=self.out,
            n_cells=self.model.n_cells,
            n_motifs=len(self.motifs),
            n_backgrounds=self.options.n_backgrounds,
            scale=self.options.scale,
            dense_bytes=self.table.n_bytes,
            most_variable=tuple(spread["tf"].iloc[:_N_TOLD].astype(str)),
            was_finished=was_finished,
        )


def plan_motifs(
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
) -> MotifsPlan:
    """Plan `motif_activity`: check its input and compute its sizes; nothing is written.

    Parameters are those of `motif_activity`, and so are the errors that are raised.

    Examples
    --------
    >>> plan = plan_motifs(
    ...     "model.zarr", "atlas.zarr", motifs="jaspar.meme", out="activity.zarr"
    ... )  # doctest: +SKIP
    >>> plan.as_json()["gflop"]  # doctest: +SKIP
    """
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    chosen, renamed = read_motifs(motifs)
    if shuffled:
        chosen = _shuffled(chosen, shuffled, seed)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    source = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    options = InsertionOptions(n_backgrounds, split, seed, scale, both_strands)
    _check(chosen, source, options, model=planned.store)
    for url in (planned.url, out):
        pool.worker_url(url)
    labels, notice = (None, None)
    if obs is not None:
        labels, notice = joined_columns(planned.store.obs, obs, what=planned.url)
    plan = MotifsPlan(
        model=planned,
        atlas=source,
        out=str(out),
        motifs=chosen,
        motif_file=str(motifs) if isinstance(motifs, str | Path) else None,
        renamed=renamed,
        labels=labels,
        notice=notice,
        options=options,
        workers=pool,
    )
    _ = plan.is_finished  # refuses an output that is taken
    return plan


def _shuffled(motifs: Sequence[Motif], n_copies: int, seed: int) -> list[Motif]:
    if n_copies < 0 or seed < 0:
        what, value = ("seed", seed) if seed < 0 else ("shuffled", n_copies)
        raise UserInputError(f"{what} must be 0 or more, got {value}.")
    return shuffled_copies(motifs, n_copies, np.random.default_rng(seed))


def _check(
    motifs: Sequence[Motif], atlas: Atlas, options: InsertionOptions, *, model: ModelStore
) -> None:
    scales = get_args(ActivityScale)
    if options.n_backgrounds < 1:
        raise UserInputError(f"n_backgrounds must be 1 or more, got {options.n_backgrounds}.")
    if options.seed < 0:
        raise UserInputError(f"seed must be 0 or more, got {options.seed}.")
    if options.scale not in scales:
        raise UserInputError(f"scale must be one of {', '.join(scales)}, got {options.scale!r}.")
    if not motifs:
        raise UserInputError("there are no motifs; give at least one.")
    check_window(model, atlas)
    check_widths(motifs, atlas.window_bp)
    split_rows(atlas, options.split)


def _widths(motifs: Sequence[Motif]) -> str:
    widths = [motif.width for motif in motifs]
    return f"{min(widths)} to {max(widths)}"
