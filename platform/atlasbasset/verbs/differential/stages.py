"""The stages of `differential`: embed, count or read, test, write the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of
from atlasbasset.verbs.differential.activities import MOTIF_COLUMNS, test_motifs
from atlasbasset.verbs.differential.design import covariate_values, make_bins
from atlasbasset.verbs.differential.peaks import (
    PEAK_COLUMNS,
    ComparePeaks,
    FindTypical,
    PeakComparison,
    comparison_units,
    create_compared,
    read_compared,
)
from atlasbasset.verbs.differential.report import DifferentialReport, GroupFound
from atlasbasset.verbs.shared.atlas_peaks import atlas_for, label_inputs, peak_inputs
from atlasbasset.verbs.shared.embed_peaks_work import EmbedPeaks, embed_stage, read_embedded
from atlasbasset.verbs.shared.open_counts import CountOpen, count_units, create_counts
from atlasstore.events import Notice
from atlasstore.files import urls
from atlasstore.files.table_file import written_table
from atlasstore.resume.units import Ranges, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.file_job import FileJob
    from atlasbasset.inference.cell_labels import CellLabels
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.differential.design import CellBins, Contrast
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.files.table_file import ColumnType, TableFile
    from atlasstore.results.result import Result

__all__ = ["MotifStages", "PeakStages"]

_DEPTH_PEAKS = 2048
"""Peaks whose mean embedding stands for all where only depth is wanted of them."""
_DISCOVERY = 0.05
_FIRST = 5
_CELLS_ALONE = (
    "Without shuffled motifs p-values know the draw of cells alone, and nearly every motif "
    "differs; give what motifs made with --shuffled 10 (shuffled)."
)


@dataclass(frozen=True, eq=False)
class _Stages:
    """A job whose input has been checked."""

    model: Model
    atlas: Atlas
    labels: CellLabels
    covariates: tuple[CellLabels, ...]
    contrasts: tuple[Contrast, ...]
    out: str
    workers: WorkerPool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the covariates."""
        return tuple(one.key for one in self.covariates)

    @cached_property
    def _source(self) -> ModelSource:
        return ModelSource.of(self.model, self.workers)

    @property
    def _config(self) -> dict[str, Any]:
        """What every comparison depends on."""
        keyed = (self.labels, *self.covariates)
        return {
            "model": self._source.identity,
            "labels": digest_of(
                *(part for one in keyed for part in ([one.key, *one.names], one.codes))
            ),
            "contrasts": [[one.group, one.reference] for one in self.contrasts],
        }

    def _embedded(
        self, job: FileJob, rows: NDArray[np.int64], deviation: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        url = urls.join(job.scratch, "peaks")
        atlas = atlas_for(self.workers, self.atlas)
        work = EmbedPeaks(self._source, atlas, rows, url, deviation)
        embed_stage(job, work, width=self.model.trunk.config.embedding_dim)
        return read_embedded(url)

    def _depth(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return each cell's logit at the mean peak, whatever the embeddings' origin."""
        embedding, intercept = self.model.table()
        return np.asarray(embedding @ mean + intercept, dtype=np.float64)

    @staticmethod
    def _add(
        table: TableFile,
        one: Contrast,
        named: pd.DataFrame,
        tested: pd.DataFrame,
        columns: dict[str, ColumnType],
    ) -> None:
        rows = named.join(tested).assign(group=one.group, reference=one.reference)
        table.add(rows[list(columns)])

    def _found(
        self, one: Contrast, tested: pd.DataFrame, names: Any, typical: float | None
    ) -> GroupFound:
        side = one.side(self.labels.codes)
        is_found = tested["q"] < _DISCOVERY
        higher = np.flatnonzero(is_found & (tested["effect"] > 0))
        first = higher[np.argsort(tested["p"].to_numpy()[higher], kind="stable")[:_FIRST]]
        return GroupFound(
            group=one.group,
            reference=one.reference,
            n_cells=int((side == 1).sum()),
            n_reference=int((side == 0).sum()),
            n_tested=int(tested["p"].notna().sum()),
            n_higher=len(higher),
            n_lower=int(is_found.sum()) - len(higher),
            typical=typical,
            first=tuple(str(name) for name in np.asarray(names)[first]),
        )


@dataclass(frozen=True, eq=False)
class PeakStages(_Stages):
    """Compares peaks."""

    min_cells: int

    @property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        config = {**self._config, "min_cells": self.min_cells}
        return JobIdentity("differential", config, label_inputs(self.atlas))

    def run(self, job: FileJob) -> DifferentialReport:
        """Test all peaks in all contrasts and write the table."""
        deviations = self.model.deviations
        fits = deviations is not None and deviations.fit(self.atlas.var)
        rows = np.arange(self.atlas.n_peaks)
        h = self._embedded(job, rows, deviations.deviation if fits and deviations else None)
        mean = h.mean(axis=0, dtype=np.float64)
        bins = make_bins(self.labels, self.covariates, self._depth(mean), self.contrasts)
        typical, tests = self._test(job, self._count(job, bins))
        job.begin_writing()
        found: list[GroupFound] = []

        def report() -> DifferentialReport:
            return DifferentialReport(self.out, "peaks", len(bins), tuple(found))

        with written_table(
            self.out, PEAK_COLUMNS, on_whole=lambda path: job.note(path, report())
        ) as table:
            for number, one in enumerate(self.contrasts):
                tested = read_compared(tests, number, self.atlas.n_peaks)
                by_model = (h - mean) @ self._difference(one)
                tested["model_effect"] = by_model - np.median(by_model)
                self._add(table, one, self._peaks(), tested, PEAK_COLUMNS)
                found.append(self._found(one, tested, self.atlas.var.index, typical[number]))
        return report()

    def _count(self, job: FileJob, bins: CellBins) -> PeakComparison:
        url, n_peaks = urls.join(job.scratch, "counts"), self.atlas.n_peaks
        job.once("counts", lambda: create_counts(url, n_peaks, len(bins)))
        work = CountOpen(atlas_for(self.workers, self.atlas), bins.of_cell, len(bins), url)
        job.run("count", count_units(n_peaks), work, stage=Stage("counting open cells", "peaks"))
        alike = replace(bins, of_cell=np.empty(0, np.int64))  # not sent to every worker
        return PeakComparison(url, alike, self.contrasts, self.names, self.min_cells)

    def _test(self, job: FileJob, given: PeakComparison) -> tuple[list[float], str]:
        """Return each contrast's typical effect, and where the tests are."""
        url, n = urls.join(job.scratch, "tests"), len(self.contrasts)
        stage = Stage("finding what a typical peak does", "groups")
        found = job.run("typical", Ranges(n, 1), FindTypical(given), stage=stage).load()
        typical = [float(one["typical"]) for one in found]
        job.once("tests", lambda: create_compared(url, n, self.atlas.n_peaks))
        units = comparison_units(n, self.atlas.n_peaks)
        job.run("test", units, ComparePeaks(given, typical, url), stage=Stage("testing", "peaks"))
        return typical, url

    def _peaks(self) -> pd.DataFrame:
        var = self.atlas.var
        named = var[["chrom", "start", "end"]].astype({"chrom": str})
        return named.assign(peak=var.index.astype(str)).reset_index(drop=True)

    def _difference(self, one: Contrast) -> NDArray[np.float64]:
        """Return the mean embedding of the group less that of its reference, (E,)."""
        side, embedding = one.side(self.labels.codes), self.model.cell_embedding
        group, reference = embedding[side == 1], embedding[side == 0]
        return np.asarray(group.mean(0, dtype=np.float64) - reference.mean(0, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class MotifStages(_Stages):
    """Compares motifs."""

    activity: Result
    """TF activity of motifs."""
    shuffled: Result | None
    """Activity of shuffled copies of the motifs, which they are held to."""

    @property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        read = [self.activity, *([] if self.shuffled is None else [self.shuffled])]
        inputs = [*peak_inputs(self.atlas), *(one.url for one in read)]
        return JobIdentity("differential of motifs", self._config, inputs)

    def run(self, job: FileJob) -> DifferentialReport:
        """Test all motifs in all contrasts and write the table."""
        if self.shuffled is None:
            job.on_event(Notice(_CELLS_ALONE))
        n_peaks = self.atlas.n_peaks
        sample = np.linspace(0, n_peaks - 1, min(_DEPTH_PEAKS, n_peaks)).astype(int)
        h = self._embedded(job, np.unique(sample))
        tables = test_motifs(
            self.contrasts,
            self.activity,
            self.labels.codes,
            self._values,
            self._depth(h.mean(axis=0, dtype=np.float64)),
            self.names,
            shuffled=self.shuffled,
            on_event=job.on_event,
        )
        job.begin_writing()
        return self._write(job, tables)

    @property
    def _values(self) -> NDArray[np.int64]:
        return covariate_values(self.covariates, self.atlas.n_cells)

    def _write(self, job: FileJob, tables: Sequence[pd.DataFrame]) -> DifferentialReport:
        named = self.activity.var[["tf", "motif"]].astype(str).reset_index(drop=True)
        found: list[GroupFound] = []

        def report() -> DifferentialReport:
            return DifferentialReport(self.out, "motifs", 0, tuple(found))

        with written_table(
            self.out, MOTIF_COLUMNS, on_whole=lambda path: job.note(path, report())
        ) as table:
            for one, tested in zip(self.contrasts, tables, strict=True):
                self._add(table, one, named, tested, MOTIF_COLUMNS)
                found.append(self._found(one, tested, named["tf"], None))
        return report()
