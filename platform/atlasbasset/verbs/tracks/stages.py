"""The stages of `tracks`: embed, count, predict along the genome, write the folder."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of, model_identity
from atlasbasset.inference.groups import mean_embeddings
from atlasbasset.verbs.shared.atlas_peaks import atlas_for, label_inputs
from atlasbasset.verbs.shared.embed_peaks_work import EmbedPeaks, embed_stage, read_embedded
from atlasbasset.verbs.shared.open_counts import CountOpen, OpenCounts, count_units, create_counts
from atlasbasset.verbs.tracks.folder import TrackFolder
from atlasbasset.verbs.tracks.report import TracksReport
from atlasbasset.verbs.tracks.values import (
    GroupLogits,
    PredictWindows,
    create_windows,
    read_windows,
    window_units,
)
from atlasstore.files import remote, urls
from atlasstore.files.staging import staged
from atlasstore.genome.fasta import Genome
from atlasstore.resume.units import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.file_job import FileJob
    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.shared.regions import Region
    from atlasstore.atlas.atlas import Atlas

__all__ = ["TrackStages", "TracksInput"]


@dataclass(frozen=True, eq=False)
class TracksInput:
    """Checked input of `tracks` but for the model."""

    atlas: Atlas
    labels: CellLabels
    regions: tuple[Region, ...]
    """Stretches that are predicted along the genome."""
    genome: str | Path | None
    genes: pd.DataFrame | None
    """From `gene_bodies`."""
    lengths: dict[str, int]
    """Of the chromosomes."""
    step_bp: int
    with_sequence: bool
    out: str
    workers: WorkerPool

    @property
    def n_windows(self) -> int:
        """Windows that are predicted along the genome."""
        return sum(region.n_windows(self.step_bp) for region in self.regions)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What is shown of each group."""
        return ("denoised", "observed", *(["predicted"] if self.regions else []))


@dataclass(frozen=True, eq=False)
class TrackStages:
    """A job whose input has been checked."""

    model: Model
    given: TracksInput

    @property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        given, labels = self.given, self.given.labels
        config = {
            "model": self._source.identity,
            "labels": digest_of([labels.key, *labels.names], labels.codes),
            "regions": [str(region) for region in given.regions],
            "step_bp": given.step_bp,
            "with_sequence": given.with_sequence,
            **({} if given.genes is None else {"genes": digest_of([given.genes.to_csv()])}),
        }
        genome = [] if given.genome is None else [str(given.genome)]
        return JobIdentity("tracks", config, [*label_inputs(given.atlas), *genome])

    @cached_property
    def _source(self) -> ModelSource:
        return ModelSource.of(self.model, self.given.workers)

    def run(self, job: FileJob) -> TracksReport:
        """Do every stage and write the folder."""
        given = self.given
        h = self._embed(job)
        logits = GroupLogits.of(
            self.model, mean_embeddings(self.model.cell_embedding, given.labels), h
        )
        counts = self._count(job)
        windows = self._predict(job, logits)
        job.begin_writing()
        with _local_folder(given.out) as place:
            folder = TrackFolder(place, given.lengths, given.labels)
            self._write(folder, logits.probability(self._with_deviations(h)), counts, windows)
            files = [path for path in place.rglob("*") if path.is_file()]
            report = TracksReport(
                out=given.out,
                groups=given.labels.names,
                kinds=given.kinds,
                n_peaks=given.atlas.n_peaks,
                n_windows=given.n_windows,
                n_files=len(files),
                n_bytes=sum(path.stat().st_size for path in files),
            )
            job.note(place, report)
        return report

    def _embed(self, job: FileJob) -> NDArray[np.float32]:
        given = self.given
        url, rows = urls.join(job.scratch, "peaks"), np.arange(given.atlas.n_peaks)
        work = EmbedPeaks(self._source, atlas_for(given.workers, given.atlas), rows, url)
        embed_stage(job, work, width=self.model.trunk.config.embedding_dim)
        return read_embedded(url)

    def _with_deviations(self, h: NDArray[np.float32]) -> NDArray[np.float32]:
        found = self.model.deviations
        return h if found is None or not found.fit(self.given.atlas.var) else h + found.deviation

    def _count(self, job: FileJob) -> str:
        given = self.given
        url, n_peaks = urls.join(job.scratch, "counts"), given.atlas.n_peaks
        n_groups = len(given.labels.names)
        job.once("counts", lambda: create_counts(url, n_peaks, n_groups))
        work = CountOpen(atlas_for(given.workers, given.atlas), given.labels.codes, n_groups, url)
        job.run("count", count_units(n_peaks), work, stage=Stage("counting open cells", "peaks"))
        return url

    def _predict(self, job: FileJob, logits: GroupLogits) -> str:
        given, url = self.given, urls.join(job.scratch, "windows")
        regions, step_bp = given.regions, given.step_bp
        if regions and given.genome is not None:
            n_groups = len(given.labels.names)
            job.once("windows", lambda: create_windows(url, regions, step_bp, n_groups))
            genome = given.workers.worker_url(given.genome)
            work = PredictWindows(self._source, genome, regions, logits, step_bp, url)
            stage = Stage("predicting along the genome", "windows")
            job.run("predict", window_units(regions, step_bp), work, stage=stage)
        return url

    def _write(
        self, folder: TrackFolder, denoised: NDArray[np.float32], counts: str, windows: str
    ) -> None:
        given = self.given
        var, regions = given.atlas.var, given.regions
        folder.write_peaks("denoised", var, denoised)
        n_open = OpenCounts(counts).rows(0, given.atlas.n_peaks)
        folder.write_peaks("observed", var, (n_open / given.labels.counts).astype(np.float32))
        if regions:
            parts = [read_windows(windows, regions, given.step_bp, n) for n in range(len(regions))]
            folder.write_windows("predicted", regions, parts, given.step_bp)
        with nullcontext() if given.genome is None else Genome.open(given.genome) as genome:
            folder.write_page(
                var,
                denoised,
                model=self.model.url,
                identity=_identity(self.model),
                atlas=given.atlas.url,
                genes=given.genes,
                sequence=genome if given.with_sequence else None,
                regions=regions,
            )


def _identity(model: Model) -> dict[str, str]:
    """Return what tells the model from others, whatever arithmetic it is computed in."""
    found = model_identity(model)
    return {part: found[part] for part in ("trunk", "cells", "names")}


@contextmanager
def _local_folder(out: str) -> Iterator[Path]:
    """Yield a new folder on this machine whose files are at `out` at the end, the page last."""
    with staged(out) as place:
        if urls.is_local(place):
            folder = urls.local_path(place)
            folder.mkdir()
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="atlasbasset-") as made:
            yield Path(made)
            fs, target = urls.filesystem(place)
            names = [str(p.relative_to(made)) for p in sorted(Path(made).rglob("*")) if p.is_file()]
            with remote.outage_errors(place):
                for name in sorted(names, key=lambda name: name == "index.html"):
                    fs.put_file(str(Path(made, name)), f"{target}/{name}")
