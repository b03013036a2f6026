"""The stages of `denoise`: embed the peaks, span them where bytes are stored, write the shards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of
from atlasbasset.verbs.denoise.work import (
    SpanPeaks,
    WriteDense,
    create_spans,
    dense_units,
    read_spans,
)
from atlasbasset.verbs.shared.atlas_peaks import atlas_for, peak_inputs
from atlasbasset.verbs.shared.embed_peaks_work import (
    EmbedPeaks,
    embed_stage,
    peak_units,
    read_embedded,
)
from atlasstore.files import urls
from atlasstore.results.writer import create_result
from atlasstore.resume.units import Stage
from atlasstore.zarrio.names import EMBEDDING, INTERCEPT, SEQUENCE
from atlasstore.zarrio.table_plan import TablePlan, plan_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.inference.model import Model, Scale
    from atlasbasset.verbs.denoise.work import PeakSpans
    from atlasstore.atlas.atlas import Atlas

__all__ = ["DenoiseStages"]

_BYTE_ERROR = 0.5 / 255


@dataclass(frozen=True, eq=False)
class DenoiseStages:
    """A job whose input has been checked."""

    model: Model
    atlas: Atlas
    peaks: NDArray[np.int64]
    """The chosen peaks' rows in the atlas."""
    cells: NDArray[np.int64]
    """The chosen cells' rows in the model."""
    scale: Scale
    dtype: str | None
    """Of the dense table; None without one."""
    workers: WorkerPool
    deviation: NDArray[np.float32] | None = None
    """(peaks, E) the chosen peaks' deviations; None: sequences alone."""

    @property
    def plan(self) -> TablePlan | None:
        """How the dense table is cut; None without one."""
        return self.table_of(len(self.cells), len(self.peaks), self.dtype)

    @staticmethod
    def table_of(n_cells: int, n_columns: int, dtype: str | None) -> TablePlan | None:
        """Return how a dense table is cut; None without one."""
        return None if dtype is None else plan_table("X", (n_cells, n_columns), dtype)

    @cached_property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        config = {
            "model": self._source.identity,
            "peaks": digest_of(self.peaks),
            "cells": digest_of(self.cells),
            "scale": self.scale,
            "dtype": self.dtype,
        }
        if self.deviation is not None:
            config["peak_deviations"] = digest_of(self.deviation)
        return JobIdentity("denoise", config, peak_inputs(self.atlas))

    @cached_property
    def _source(self) -> ModelSource:
        return ModelSource.of(self.model, self.workers)

    def run(self, job: ResumableJob) -> None:
        """Do every stage and publish."""
        peaks_url = urls.join(job.scratch, "peaks")
        self._embed(job, peaks_url)
        spans = self._span(job, peaks_url) if self._has_spans else None
        job.create(lambda: self._create(job.place, read_embedded(peaks_url), spans))
        if (plan := self.plan) is not None:
            work = WriteDense(
                self.model.cell_embedding,
                self.model.intercept,
                self.cells,
                peaks_url,
                job.place,
                plan,
                self.scale,
                spans,
            )
            stage = Stage("writing predictions", "cells")
            job.run("shards", dense_units(plan), work, stage=stage)
        self._publish(job)

    @property
    def _has_spans(self) -> bool:
        return self.dtype == "uint8" and self.scale == "linear"

    def _embed(self, job: ResumableJob, url: str) -> None:
        work = EmbedPeaks(
            model=self._source,
            atlas=atlas_for(self.workers, self.atlas),
            rows=self.peaks,
            url=url,
            deviation=self.deviation,
        )
        embed_stage(job, work, width=self.model.trunk.config.embedding_dim)

    def _span(self, job: ResumableJob, peaks_url: str) -> PeakSpans:
        url, units = urls.join(job.scratch, "spans"), peak_units(len(self.peaks))
        work = SpanPeaks(self.model.cell_embedding, self.cells, peaks_url, url)
        job.once("spans", lambda: create_spans(url, len(self.peaks), units[0]["stop"]))
        job.run("span", units, work, stage=Stage("finding what peaks span", "peaks"))
        return read_spans(url)

    def _create(self, place: str, h: NDArray[np.float32], spans: PeakSpans | None) -> None:
        create_result(
            place,
            kind="denoised",
            obs=self.model.obs.iloc[self.cells].assign(
                **{INTERCEPT: self.model.intercept[self.cells]}
            ),
            var=_with_spans(self.atlas.var.iloc[self.peaks], spans),
            obsm=self._obsm,
            varm={SEQUENCE: h},
            tables=[] if self.plan is None else [self.plan],
            about={"scale": self.scale, **self.origin, **self._quantisation(spans)},
        )

    @property
    def _obsm(self) -> dict[str, NDArray[Any]]:
        """The cells' maps that were stored later, and their embedding."""
        tables = {**self.model.obsm, EMBEDDING: self.model.cell_embedding}
        return {name: values[self.cells] for name, values in tables.items()}

    @property
    def origin(self) -> dict[str, Any]:
        """Say of a result that peaks are more in it than their sequences."""
        return {} if self.deviation is None else {"peak_deviations": True}

    def _quantisation(self, spans: PeakSpans | None) -> dict[str, Any]:
        """Say what a stored byte means."""
        if self.dtype != "uint8":
            return {}
        if spans is None:
            return {"value": "X / 255", "largest_error": _BYTE_ERROR}
        return {
            "value": "X * var.scbasset_scale + var.scbasset_offset",
            "largest_error": spans.largest_error,
        }

    def _publish(self, job: ResumableJob) -> None:
        config = {"model": self.model.url, "atlas": self.atlas.url, "scale": self.scale}
        job.publish(config, {"model": self.model.store, "atlas": self.atlas})


def _with_spans(var: pd.DataFrame, spans: PeakSpans | None) -> pd.DataFrame:
    if spans is None:
        return var
    return var.assign(scbasset_scale=spans.scale, scbasset_offset=spans.lowest)
