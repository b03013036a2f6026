"""The stages of `map`: embed the peaks, solve cells and peaks, put them into a checkpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from atlasbasset.batch.job_identity import JobIdentity
from atlasbasset.batch.model_source import ModelSource, digest_of
from atlasbasset.engine.checkpoints import PEAKS
from atlasbasset.engine.state import RunState
from atlasbasset.inference.peak_deviations import PeakDeviations
from atlasbasset.verbs.map_cells.batches import rows_of_batches
from atlasbasset.verbs.map_cells.peaks import SolvePeaks
from atlasbasset.verbs.map_cells.work import (
    SOLVED_STEP,
    AssembleBlocks,
    SolveCells,
    block_units,
    cell_units,
    create_solved,
    solved_tables,
)
from atlasbasset.verbs.shared.atlas_peaks import atlas_for
from atlasbasset.verbs.shared.embed_peaks_work import (
    EmbedPeaks,
    create_embedded,
    embed_stage,
    peak_units,
    read_embedded,
)
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.genome.peaks import peaks_digest
from atlasstore.models.checkpoint import CheckpointWriter
from atlasstore.models.model_store import model_attrs
from atlasstore.resume.units import Stage
from atlasstore.zarrio import arrays, formats, tables
from atlasstore.zarrio.publish import publish_root, rootless
from atlasstore.zarrio.table_plan import TablePlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.job import ResumableJob
    from atlasbasset.inference.model import Model
    from atlasbasset.verbs.map_cells.batches import NewBatches
    from atlasbasset.verbs.map_cells.peaks import FreePeaks
    from atlasbasset.verbs.map_cells.work import BatchRows
    from atlasstore.atlas.atlas import Atlas
    from atlasstore.events import Subscriber

__all__ = ["MapStages"]


@dataclass(frozen=True, eq=False)
class MapStages:
    """A mapping whose input has been checked."""

    model: Model
    atlas: Atlas
    rows: NDArray[np.int64]
    """The fitted peaks' rows in the atlas."""
    l2: float
    split: str
    pool: WorkerPool
    deviates: bool = False
    """Whether the peaks are those that the model's peaks deviate for."""
    batches: NewBatches | None = None
    """Of the new cells, where the model or the user tells batches apart."""
    with_errors: bool = False
    free: FreePeaks | None = None
    """Fitted peaks that are solved, too."""
    on_event: Subscriber = ignore

    @cached_property
    def identity(self) -> JobIdentity:
        """What makes another run the same job."""
        source = self._source.identity
        model = {part: source[part] for part in ("trunk", "compute")}
        config = {"model": model, "peaks": digest_of(self.rows), "l2": self.l2}
        if self._deviations is not None:
            config["peak_deviations"] = digest_of(self._deviations.deviation)
        if self.with_errors:
            config["standard_errors"] = True
        if self.free is not None:
            config["solved_peaks"] = digest_of(self.free.is_free)
            config["peak_l2"] = self.free.weight
        if (batches := self.batches) is not None:
            own = () if self.model.batch_embedding is None else (self.model.batch_embedding,)
            cells = (batches.codes, self.model.cell_embedding, *own)
            config["batches"] = digest_of([batches.key, *batches.names], *cells)
        return JobIdentity("map", config, [self.atlas.url])

    @cached_property
    def _source(self) -> ModelSource:
        return ModelSource.of(self.model, self.pool)

    @property
    def _deviations(self) -> PeakDeviations | None:
        return self.model.deviations if self.deviates else None

    @property
    def _width(self) -> int:
        return self.model.trunk.config.embedding_dim

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "model": self.model.url,
            "atlas": self.atlas.url,
            "l2": self.l2,
            "split": self.split,
            **({} if self.batches is None else {"batch_key": self.batches.key}),
            **({} if self.free is None else {"peak_l2": self.free.weight}),
        }

    def run(self, job: ResumableJob) -> None:
        """Do every stage and publish."""
        began = time.monotonic()
        peaks_url = urls.join(job.scratch, "peaks")
        self._embed(job, peaks_url)
        embedded = time.monotonic()
        solved_url = urls.join(job.scratch, "solved")
        rows = self._batch_rows(peaks_url)
        if self.free is not None:
            peaks_url = self._solve_peaks(job, self.free, peaks_url)
        objective = self._solve(job, "solve", peaks_url, solved_url, rows)
        seconds = (embedded - began, time.monotonic() - embedded)
        blocks = self._assemble(job, solved_url)
        found = self._found_deviations(job, peaks_url)
        self._commit(job, objective, seconds, rows, found, blocks)

    def _embed(self, job: ResumableJob, url: str) -> None:
        found = self._deviations
        deviation = None if found is None else found.deviation[self.rows]
        work = EmbedPeaks(self._source, atlas_for(self.pool, self.atlas), self.rows, url, deviation)
        embed_stage(job, work, width=self._width)

    def _batch_rows(self, peaks_url: str) -> BatchRows | None:
        if self.batches is None:
            return None
        h = read_embedded(peaks_url)
        found = rows_of_batches(
            self.model, self.atlas, self.batches, h, self.rows, self.l2, on_event=self.on_event
        )
        if found.apart:
            self.on_event(
                Notice(
                    f"Nothing joins batches {', '.join(found.apart)} to the model's cells, so "
                    "their effect and other cells look the same: none is taken away."
                )
            )
        return found

    def _solve_peaks(self, job: ResumableJob, free: FreePeaks, given_url: str) -> str:
        """Solve the free peaks on cells solved without them; return the URL of all fitted peaks."""
        cells_url, url = (urls.join(job.scratch, part) for part in ("first", "solved-peaks"))
        self._solve(job, "first", given_url, cells_url)
        work = SolvePeaks(
            atlas=atlas_for(self.pool, self.atlas),
            rows=self.rows,
            free=free,
            given_url=given_url,
            solved_url=cells_url,
            url=url,
            width=self._width,
            device=self._device,
        )
        job.once("solved-peaks", lambda: create_embedded(url, len(self.rows), self._width))
        units, stage = peak_units(len(self.rows)), Stage("solving peaks", "peaks")
        job.run("solve-peaks", units, work, stage=stage)
        return url

    @property
    def _device(self) -> str:
        return self.pool.device or str(self.model.trunk.bottleneck.weight.device)

    def _solve(
        self,
        job: ResumableJob,
        name: str,
        peaks_url: str,
        url: str,
        batch_rows: BatchRows | None = None,
    ) -> float:
        """Solve every cell; return the sum of all cells' objectives."""
        blocks, with_errors = self.atlas.blocks, self.with_errors and name == "solve"
        create = partial(create_solved, url, blocks, self._width, with_errors=with_errors)
        job.once(f"{name}-created", create)
        shared = None
        if self.batches is not None and batch_rows is not None:
            shared = self.batches.codes, batch_rows
        work = SolveCells(
            atlas=atlas_for(self.pool, self.atlas),
            rows=self.rows,
            peaks_url=peaks_url,
            url=url,
            l2=self.l2,
            device=self._device,
            batches=shared,
            with_errors=with_errors,
        )
        units = cell_units(self.atlas.blocks)
        receipts = job.run(name, units, work, stage=Stage("solving cells", "cells"))
        return _total(receipt["objective"] for receipt in receipts.load())

    def _assemble(self, job: ResumableJob, solved_url: str) -> dict[str, dict[int, int]]:
        """Write the checkpoint's cell tables; return the blocks for `CheckpointWriter.commit`."""
        job.create(lambda: self._create(job.place))
        folder = f"checkpoints/{self._writer(job).name}"
        given = solved_tables(self._width, with_errors=self.with_errors)
        rows, size = self.atlas.n_cells, self.atlas.blocks[0].n_cells
        plans = [
            TablePlan(f"{folder}/{name}", (rows, *shape), "float32", size, size)
            for name, shape in given.items()
        ]
        units, work = block_units(self.atlas.blocks), AssembleBlocks(solved_url, job.place, plans)
        receipts = job.run("blocks", units, work, stage=Stage("writing cells", "cells")).load()
        checksums = np.array([[b["crc32"] for b in receipt["blocks"]] for receipt in receipts])
        return {name: dict(enumerate(checksums[:, at].tolist())) for at, name in enumerate(given)}

    def _create(self, place: str) -> None:
        """Write the new model's cells, and its empty checkpoint."""
        with rootless(place) as root:
            tables.write_table(root, "obs", self._obs())
        written = solved_tables(self._width, with_errors=self.with_errors)
        self._writer_at(place).begin(written, over=True)

    def _obs(self) -> pd.DataFrame:
        if self.batches is None:
            return self.atlas.obs
        return self.atlas.obs.assign(scbasset_batch=self.batches.codes)

    def _writer(self, job: ResumableJob) -> CheckpointWriter:
        return self._writer_at(job.place)

    def _writer_at(self, place: str) -> CheckpointWriter:
        block_cells = self.atlas.blocks[0].n_cells
        return CheckpointWriter(
            place, SOLVED_STEP, n_cells=self.atlas.n_cells, block_cells=block_cells
        )

    def _found_deviations(self, job: ResumableJob, peaks_url: str) -> PeakDeviations | None:
        """Return the deviations of the new model's peaks, those of solved ones included."""
        if (free := self.free) is None:
            return self._deviations
        given_url = urls.join(job.scratch, "peaks")
        moved = read_embedded(peaks_url)[free.is_free] - read_embedded(given_url)[free.is_free]
        whole = np.zeros((self.atlas.n_peaks, self._width), np.float32)
        if self._deviations is not None:
            whole[:] = self._deviations.deviation
        whole[self.rows[free.is_free]] = moved
        return PeakDeviations(whole, peaks_digest(self.atlas.var))

    def _commit(
        self,
        job: ResumableJob,
        objective: float,
        seconds: tuple[float, float],
        batch_rows: BatchRows | None,
        deviations: PeakDeviations | None,
        blocks: Mapping[str, Mapping[int, int]],
    ) -> None:
        writer = self._writer(job)
        arrays.check_group(urls.open_group(writer.url), url=writer.url)
        trunk = {name: t.cpu().numpy() for name, t in self.model.trunk.state_dict().items()}
        writer.write_tensors("trunk", trunk)
        if deviations is not None:
            writer.write_tensors(PEAKS, deviations.as_tensors())
        if batch_rows is not None:
            batches = {
                "batch_embedding": batch_rows.embedding,
                "batch_intercept": batch_rows.intercept,
            }
            writer.write_tensors("batches", batches)
        mapped = {
            "n_peaks": len(self.rows),
            "n_peaks_solved": 0 if self.free is None else self.free.count,
            "l2": self.l2,
            "loss": objective / self.atlas.n_cells / len(self.rows),
            "seconds_embedding": seconds[0],
            "seconds_solving": seconds[1],
        }
        writer.commit({**RunState().as_json(), "mapped": mapped}, blocks=blocks)
        attrs = model_attrs(
            self.atlas.n_cells,
            # "atlas" names what training may resume on: nothing, no optimiser's state is here
            {**self.model.config, "atlas": None, "mapped": self._settings},
            block_cells=self.atlas.blocks[0].n_cells,
            batches=() if self.batches is None else self.batches.names,
        )
        job.publish(
            self._settings,
            {"model": self.model.store, "atlas": self.atlas},
            finish=partial(_finish, attributes=attrs),
        )


def _finish(
    place: str,
    provenance: Mapping[str, Any],
    *,
    shards: Iterable[Mapping[str, Any]],
    attributes: Mapping[str, Any],
) -> None:
    del shards  # the checkpoint's manifest has them
    publish_root(place, formats.MODEL, provenance, attributes)


def _total(values: Iterable[float]) -> float:
    return float(np.sum(np.fromiter(values, np.float64)))
