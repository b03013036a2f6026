"""The stages of `motifs`: insert, average, score (see `motif_activity`)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of
from atlasbasset.verbs.motifs.insertion import (
    InsertMotifs,
    create_inserted,
    insertion_units,
    mean_effects,
    shuffled_peaks,
)
from atlasbasset.verbs.motifs.scores import (
    LinearScores,
    Moments,
    SigmoidActivity,
    SigmoidScores,
    create_raw,
    linear_moments,
    raw_moments,
)
from atlasbasset.verbs.shared.atlas_peaks import peak_inputs
from atlasbasset.verbs.shared.split import split_rows
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.genome.motif_names import distinct_names
from atlasstore.genome.motifs import information_content
from atlasstore.results.writer import create_result
from atlasstore.resume.units import Stage
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT, SEQUENCE
from atlasstore.zarrio.table_plan import TablePlan, plan_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.inference.model import Model
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif
    from atlasstore.resume.units import Work

__all__ = ["InsertionOptions", "MotifStages"]


@dataclass(frozen=True, slots=True)
class InsertionOptions:
    """Checked options of `motif_activity` that change its result."""

    n_backgrounds: int
    split: str
    seed: int
    scale: str
    both_strands: bool = False

    @property
    def n_strands(self) -> int:
        """2 where sequences are read from both strands."""
        return 1 + self.both_strands


@dataclass(frozen=True, eq=False)
class MotifStages:
    """A job whose input has been checked."""

    model: Model
    atlas: Atlas
    motifs: Sequence[Motif]
    motif_file: str | None
    labels: pd.DataFrame | None
    """Columns of a table of cells for the result's obs."""
    options: InsertionOptions
    workers: WorkerPool
    on_event: Subscriber

    @property
    def plan(self) -> TablePlan:
        """How the z-scores are cut."""
        return self.table_of(self.model.n_cells, len(self.motifs))

    @staticmethod
    def table_of(n_cells: int, n_motifs: int) -> TablePlan:
        """Return how z-scores are cut."""
        return plan_table("X", (n_cells, n_motifs), "float32")

    @cached_property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        config = {
            "model": self._source.identity,
            "motifs": _digest(self.motifs),
            **asdict(self.options),
        }
        if self.labels is not None:
            config["obs"] = digest_of([self.labels.to_csv()])
        return JobIdentity("motifs", config, peak_inputs(self.atlas))

    @cached_property
    def _source(self) -> ModelSource:
        return ModelSource.of(self.model, self.workers)

    def run(self, job: ResumableJob) -> None:
        """Insert the motifs, score the cells, publish."""
        inserted = urls.join(job.scratch, "inserted")
        self._insert(job, inserted)
        effects = mean_effects(inserted)
        if self.options.scale == "linear":
            moments = linear_moments(self.model.cell_embedding, effects)
            work: Work = LinearScores(
                self.model.cell_embedding, effects, moments, job.place, self.plan
            )
        else:
            raw = urls.join(job.scratch, "raw")
            moments = self._activities_after_sigmoid(job, inserted, raw)
            work = SigmoidScores(raw, moments, job.place, self.plan)
        job.create(lambda: self._create(job.place, effects, moments))
        job.run("scores", self._units(), work, stage=Stage("scoring cells", "cells"))
        self._publish(job)

    def _insert(self, job: ResumableJob, url: str) -> None:
        n_backgrounds, n_motifs = self.options.n_backgrounds, len(self.motifs)
        width, strands = self.model.trunk.config.embedding_dim, self.options.n_strands
        rows = split_rows(self.atlas, self.options.split)
        if n_backgrounds > len(rows):
            self.on_event(
                Notice(f"{n_backgrounds:,} backgrounds come from {len(rows):,} peaks, drawn again.")
            )
        job.once(
            "inserted",
            lambda: create_inserted(url, n_backgrounds, n_motifs, width, n_strands=strands),
        )
        work = InsertMotifs(
            model=self._source,
            backgrounds=shuffled_peaks(self.atlas, rows, n_backgrounds, seed=self.options.seed),
            motifs=self.motifs,
            seed=self.options.seed,
            url=url,
            both_strands=self.options.both_strands,
        )
        units = insertion_units(n_backgrounds, n_motifs)
        job.run("insertion", units, work, stage=Stage("inserting motifs", "backgrounds"))

    def _activities_after_sigmoid(self, job: ResumableJob, inserted: str, url: str) -> Moments:
        job.once("raw", lambda: create_raw(url, self.plan))
        device = self.workers.device or str(self.model.trunk.bottleneck.weight.device)
        work = SigmoidActivity(self.model.cell_embedding, device, inserted, url)
        stage = Stage("averaging after the sigmoid", "cells")
        job.run("sigmoid", self._units(), work, stage=stage)
        return raw_moments(url)

    def _units(self) -> list[dict[str, int]]:
        return [{"start": start, "stop": stop} for start, stop in self.plan.shards()]

    def _create(self, place: str, effects: NDArray[np.float64], moments: Moments) -> None:
        create_result(
            place,
            kind="tf_activity",
            obs=self._obs(),
            var=_motif_table(self.motifs, moments),
            obsm={**self.model.obsm, EMBEDDING: self.model.cell_embedding},
            varm={SEQUENCE: effects.astype(np.float32)},
            tables=[self.plan],
            about=asdict(self.options),
        )

    def _obs(self) -> pd.DataFrame:
        obs = self.model.obs.assign(**{INTERCEPT: self.model.intercept})
        return obs if self.labels is None else pd.concat([obs, self.labels], axis=1)

    def _publish(self, job: ResumableJob) -> None:
        job.publish(
            {"model": self.model.url, "atlas": self.atlas.url, **asdict(self.options)},
            {"model": self.model.store, "atlas": self.atlas},
            files=[self.motif_file] if self.motif_file else [],
            seed=self.options.seed,
        )


def _motif_table(motifs: Sequence[Motif], moments: Moments) -> pd.DataFrame:
    tfs = [motif.tf for motif in motifs]
    return pd.DataFrame(
        {
            "motif": [motif.name for motif in motifs],
            "tf": tfs,
            "width": [motif.width for motif in motifs],
            "information_content": [information_content(motif) for motif in motifs],
            "mean": moments.mean,
            "sd": moments.sd,
        },
        index=pd.Index(distinct_names(tfs)[0], dtype=object),
    )


def _digest(motifs: Sequence[Motif]) -> str:
    """Return what changes when a name, a TF or a probability does."""
    words = [word for motif in motifs for word in (motif.name, motif.tf)]
    return digest_of(words, *(motif.probabilities for motif in motifs))
