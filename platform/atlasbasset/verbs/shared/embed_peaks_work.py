"""Embedding an atlas's peaks, unit by unit: into an array that other units read, or for here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.batch.gather import gather
from atlasbasset.batch.model_source import ModelSource
from atlasbasset.batch.scratch import scratch_group
from atlasbasset.verbs.shared.atlas_peaks import embed_peaks
from atlasstore.atlas.atlas import Atlas
from atlasstore.events import ignore
from atlasstore.resume.units import Stage
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.batch.gather import Arrays
    from atlasbasset.batch.stages import JobStages
    from atlasbasset.inference.model import Model
    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Receipt, Unit

__all__ = [
    "UNIT_PEAKS",
    "EmbedPeaks",
    "create_embedded",
    "embed_by_workers",
    "embed_stage",
    "peak_units",
    "read_embedded",
    "write_embedded",
]

UNIT_PEAKS = 1024
"""Peaks of a unit at most."""
_ARRAY = "h"


def peak_units(n_peaks: int) -> list[Unit]:
    """Cut the positions of `n_peaks` chosen peaks into units."""
    return [{"start": start, "stop": stop} for start, stop in runs(n_peaks, UNIT_PEAKS)]


def create_embedded(url: str, n_peaks: int, width: int) -> None:
    """Create the array that `EmbedPeaks` fills: float32 (n_peaks, width), a piece per unit.

    Over what an earlier run of the same job has left there.
    """
    arrays.create_array(
        scratch_group(url),
        _ARRAY,
        shape=(n_peaks, width),
        dtype=np.float32,
        chunk_rows=UNIT_PEAKS,
        fill_value=float("nan"),
        axes=("peak", "dim0"),
    )


def read_embedded(url: str, run: slice | None = None) -> NDArray[np.float32]:
    """Read the whole array or a run of its rows, float32 (n_peaks, width).

    Raises
    ------
    CorruptStoreError
        When a piece is lost or damaged.
    """
    array = arrays.open_member(url, _ARRAY)
    start, stop = (0, array.shape[0]) if run is None else (run.start, run.stop)
    found = arrays.read_array(array, start, stop, url=url)
    if np.isnan(found).any():
        arrays.check_chunks(array, url=url)
    return found


def write_embedded(url: str, start: int, h: NDArray[np.float32]) -> None:
    """Write the rows of a unit that begins at `start`."""
    arrays.write_pieces(arrays.open_member(url, _ARRAY, mode="r+"), start, h)


def embed_by_workers(
    model: Model,
    atlas: Atlas,
    rows: NDArray[np.int64],
    *,
    pool: WorkerPool,
    on_event: Subscriber,
) -> NDArray[np.float32]:
    """Embed peaks as `embed_peaks` does, by the workers of `pool`; without any, here."""
    if not pool.count:
        return embed_peaks(model, atlas, rows, on_event=on_event)
    source, url = ModelSource.of(model, pool), pool.worker_url(atlas.url)
    found = gather(
        peak_units(len(rows)),
        _EmbedRows(source, url, rows),
        pool=pool,
        stage=Stage("embedding sequences", "peaks"),
        on_event=on_event,
    )
    return np.concatenate([part["h"] for part in found])


@dataclass(frozen=True, eq=False)
class _EmbedRows:
    """Embeds a run of the chosen peaks."""

    model: ModelSource
    """The model, of which the trunk is loaded."""
    atlas: Atlas | str
    """An open atlas, or its URL."""
    rows: NDArray[np.int64]
    """The chosen peaks' rows in the atlas; a unit is a run of positions in it."""

    @cached_property
    def _atlas(self) -> Atlas:
        return self.atlas if isinstance(self.atlas, Atlas) else Atlas.open(self.atlas)

    def __call__(self, unit: Unit) -> Arrays:
        rows = self.rows[unit["start"] : unit["stop"]]
        return {"h": embed_peaks(self.model.embedder, self._atlas, rows, on_event=ignore)}


@dataclass(frozen=True, eq=False)
class EmbedPeaks:
    """Work: embed a run of the chosen peaks and write it."""

    model: ModelSource
    """The model, of which the trunk is loaded."""
    atlas: Atlas | str
    """An open atlas, or its URL."""
    rows: NDArray[np.int64]
    """The chosen peaks' rows in the atlas; a unit is a run of positions in it."""
    url: str
    """Where `create_embedded` made the array."""
    deviation: NDArray[np.float32] | None = None
    """(len(rows), E), added to the embeddings."""

    @cached_property
    def _embed(self) -> _EmbedRows:
        return _EmbedRows(self.model, self.atlas, self.rows)

    def __call__(self, unit: Unit) -> Receipt:
        """Embed and write positions [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        h = self._embed(unit)["h"]
        if self.deviation is not None:
            h += self.deviation[start:stop]
        write_embedded(self.url, start, h)
        return {}


def embed_stage(job: JobStages, work: EmbedPeaks, *, width: int) -> None:
    """Embed the chosen peaks as a stage of a job; `width` is E."""
    n_peaks = len(work.rows)
    job.once("peaks", lambda: create_embedded(work.url, n_peaks, width))
    job.run("embed", peak_units(n_peaks), work, stage=Stage("embedding sequences", "peaks"))
