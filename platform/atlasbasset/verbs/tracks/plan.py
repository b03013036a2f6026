"""The plan of `tracks`: which groups, which places, and how large it becomes."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.file_job import is_file_finished, refuse_file, run_file_job
from atlasbasset.inference.groups import group_labels
from atlasbasset.verbs.shared.atlas_peaks import check_window
from atlasbasset.verbs.shared.plan import PlannedModel, finished_line, notice_lines, workers_in_full
from atlasbasset.verbs.shared.regions import parsed_region, refuse_overlaps
from atlasbasset.verbs.shared.same_cells import check_same_cells
from atlasbasset.verbs.shared.track_set import bigtools
from atlasbasset.verbs.tracks.page import igv_files
from atlasbasset.verbs.tracks.report import TracksReport
from atlasbasset.verbs.tracks.sequence import chromosome_lengths
from atlasbasset.verbs.tracks.stages import TracksInput, TrackStages
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.genome.fasta import Genome
from atlasstore.genome.genes import gene_bodies
from atlasstore.plans import Plan
from atlasstore.text_units import count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlasbasset.core.compute import Compute, ConvolutionChoice
    from atlasbasset.inference.cell_labels import Obs
    from atlasbasset.inference.model import Model
    from atlasstore.events import Subscriber
    from atlasstore.plans import Lines

__all__ = ["TracksPlan", "plan_tracks"]


@dataclass(frozen=True, eq=False, repr=False)
class TracksPlan(TracksInput, Plan[TracksReport]):
    """Checked input of `tracks`; made by `plan_tracks`."""

    model: PlannedModel

    @property
    def title(self) -> str:
        """What would be done."""
        return f"Would write tracks of groups of {self.labels.key!r} into {self.out}"

    def lines(self) -> Lines:
        """Return groups, peaks, windows and files."""
        n_groups = len(self.labels.names)
        windows = f"{count(self.n_windows)}, every {count(self.step_bp)} bp"
        return [
            ("groups", f"{count(n_groups)} by {self.labels.key}"),
            ("peaks", count(self.atlas.n_peaks)),
            *([("windows", windows)] if self.regions else []),
            ("bigWig files", count(n_groups * len(self.kinds))),
            ("arithmetic", self.model.arithmetic),
            ("workers", workers_in_full(self.workers)),
            *notice_lines("left out", self.labels.notice()),
            *finished_line(is_finished=self.is_finished),
        ]

    @property
    def _stages(self) -> TrackStages:
        return TrackStages(self.model.loaded, self)

    @cached_property
    def is_finished(self) -> bool:
        """Whether the very same job has made the folder already."""
        return is_file_finished(self.out, lambda: self._stages.identity)

    def values(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "out": self.out,
            "n_groups": len(self.labels.names),
            "n_peaks": self.atlas.n_peaks,
            "n_windows": self.n_windows,
            "kinds": list(self.kinds),
            "workers": self.workers.count,
        }

    def _run(self, on_event: Subscriber) -> TracksReport:
        if sentence := self.labels.notice():
            on_event(Notice(sentence))
        if not self.is_finished:
            self.model.tell_arithmetic(on_event)
        return run_file_job(
            self.out,
            self._stages,
            pool=self.workers,
            read_report=TracksReport.from_json,
            on_event=on_event,
        )


def plan_tracks(
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
) -> TracksPlan:
    """Plan `tracks`: check its input; nothing is written.

    Parameters are those of `tracks`, and so are the errors that are raised.

    Examples
    --------
    >>> print(plan_tracks("model.zarr", "atlas.zarr", group_by="cell_type",
    ...                   out="tracks"))  # doctest: +SKIP
    """
    refuse_file(out)
    pool = WorkerPool(workers, cpus_per_worker, gpus_per_worker)
    bigtools()
    igv_files()
    if step_bp < 1:
        raise UserInputError(f"step_bp must be 1 or more, got {step_bp}.")
    if genome is None and (genome_wide or with_sequence):
        what = "predictions along the genome" if genome_wide else "the page's sequence"
        raise UserInputError(f"{what} need the genome; give its FASTA (genome).")
    cells = atlas if isinstance(atlas, Atlas) else Atlas.open(atlas)
    planned = PlannedModel.of(model, compute=compute, convolution=convolution)
    check_same_cells(planned.store, cells)
    check_window(planned.store, cells)
    labels = group_labels(planned.store.obs, group_by, obs=obs, what=planned.url)
    if labels is None:
        raise UserInputError("name the column whose groups have tracks (group_by).")
    with ExitStack() as stack:
        opened = None if genome is None else stack.enter_context(Genome.open(genome))
        lengths = chromosome_lengths(cells.var, opened, margin_bp=cells.window_bp)
        known = {} if opened is None else opened.chrom_lengths
        regions = tuple(parsed_region(text, known) for text in genome_wide)
    refuse_overlaps(regions)
    for url in (planned.url, out):
        pool.worker_url(url)
    lengths |= {region.chrom: known[region.chrom] for region in regions}
    return TracksPlan(
        cells,
        labels,
        regions,
        genome,
        None if genes is None else gene_bodies(genes),
        lengths,
        step_bp,
        with_sequence,
        str(out),
        pool,
        model=planned,
    )
