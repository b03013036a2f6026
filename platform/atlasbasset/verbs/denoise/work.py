"""Dense denoised accessibility, shard by shard, and what is needed to store it in a byte.

A byte holds 256 steps. Of a sigmoid or probability p it is round(255 p). On the linear scale the
steps of a peak divide what its values span over the chosen cells, which `SpanPeaks` finds before;
so ``value = scale * byte + offset`` with a scale and an offset for each peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.verbs.shared.embed_peaks_work import peak_units, read_embedded
from atlasbasset.verbs.shared.sigmoid import sigmoid_
from atlasstore.errors import UserInputError
from atlasstore.results.writer import write_rows
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.batch.executor import WorkerPool
    from atlasbasset.inference.model import Scale
    from atlasstore.resume.units import Receipt, Unit
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = [
    "DTYPES",
    "DenseType",
    "PeakSpans",
    "SpanPeaks",
    "WriteDense",
    "create_spans",
    "dense_units",
    "read_spans",
    "spanning_bytes",
    "writing_bytes",
]

DenseType = Literal["float32", "float16", "uint8"]
DTYPES: tuple[DenseType, ...] = ("float32", "float16", "uint8")

_STEPS = 255
_FLOAT_BYTES = 4
_THREADS = 2
_TILE_CELLS = 4096
_CACHED_CELLS = 8
_SPANS = "spans"
_VALUE_BYTES: dict[str, int] = {"float32": 22, "float16": 20, "uint8": 7}
"""Of a shard under way, bytes a value: predicted in float32, encoded, compressed; as measured."""


def dense_units(plan: TablePlan) -> list[Unit]:
    """Return a unit for each shard of cells."""
    return [{"start": start, "stop": stop} for start, stop in plan.shards()]


def writing_bytes(
    plan: TablePlan, n_peaks: int, width: int, *, workers: WorkerPool, beside: int = 0
) -> int:
    """Return what `WriteDense` holds at most beside the model, bytes.

    Parameters
    ----------
    plan
        The table.
    n_peaks, width
        Shape of the peaks' embeddings; there are two of them while they are transposed.
    workers
        Who computes: in this process several shards at once.
    beside
        What each shard under way takes in addition, bytes.
    """
    at_once = 1 if workers.count else min(_THREADS, plan.n_shards)
    values = plan.shape[1] * min(plan.shape[0], plan.shard_rows)
    shards = at_once * (values * _VALUE_BYTES[plan.dtype] + beside)
    return 2 * _FLOAT_BYTES * n_peaks * width + shards


def spanning_bytes(n_cells: int, n_peaks: int, width: int) -> int:
    """Return what `SpanPeaks` holds at most beside the model, bytes."""
    tile = min(n_cells, _TILE_CELLS) * peak_units(n_peaks)[0]["stop"]
    return _FLOAT_BYTES * ((n_cells + n_peaks) * width + 2 * tile)


@dataclass(frozen=True, eq=False)
class PeakSpans:
    """What each peak's values span on the linear scale, and the steps that divide it."""

    lowest: NDArray[np.float32]
    """(P,)."""
    highest: NDArray[np.float32]
    """(P,)."""

    @cached_property
    def scale(self) -> NDArray[np.float32]:
        """Width of a peak's step, float32 (P,); 0 where all values are the same."""
        return (self.highest - self.lowest) / np.float32(_STEPS)

    @property
    def largest_error(self) -> float:
        """Half the widest step."""
        return float(self.scale.max()) / 2


def create_spans(url: str, n_peaks: int, piece: int) -> None:
    """Create the array that `SpanPeaks` fills, a piece of peaks per unit."""
    arrays.create_array(
        scratch_group(url),
        _SPANS,
        shape=(n_peaks, 2),
        dtype=np.float32,
        chunk_rows=piece,
        fill_value=float("nan"),
        axes=("peak", "bound"),
    )


def read_spans(url: str) -> PeakSpans:
    """Read what all units found."""
    array = arrays.open_member(url, _SPANS)
    arrays.check_chunks(array, url=url)
    found = arrays.read_array(array, 0, array.shape[0], url=url)
    return PeakSpans(found[:, 0], found[:, 1])


@dataclass(frozen=True, eq=False)
class SpanPeaks:
    """Work: find the lowest and highest value of each of a run of peaks over the chosen cells."""

    embedding: NDArray[np.float32]
    """W of all cells, (N, E)."""
    cells: NDArray[np.int64]
    """The chosen cells' rows."""
    peaks_url: str
    """Of the peaks' embeddings."""
    url: str
    """Where `create_spans` made the array."""

    @cached_property
    def _h(self) -> Tensor:
        return torch.from_numpy(read_embedded(self.peaks_url))

    @cached_property
    def _w(self) -> Tensor:
        return torch.from_numpy(self.embedding[self.cells])

    def __call__(self, unit: Unit) -> Receipt:
        """Find and write the spans of peaks [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        columns = self._h[start:stop].T
        lows, highs = [], []
        for first, last in runs(len(self._w), _TILE_CELLS):
            values = self._w[first:last] @ columns
            lows.append(values.amin(0))
            highs.append(values.amax(0))
        spans = torch.stack([torch.stack(lows).amin(0), torch.stack(highs).amax(0)], 1)
        arrays.write_pieces(arrays.open_member(self.url, _SPANS, mode="r+"), start, spans.numpy())
        return {}


@dataclass(frozen=True, eq=False)
class WriteDense:
    """Work: compute and write one shard of the table."""

    embedding: NDArray[np.float32]
    """W of all cells, (N, E)."""
    intercept: NDArray[np.float32]
    """b of all cells, (N,)."""
    cells: NDArray[np.int64]
    """The chosen cells' rows."""
    peaks_url: str
    """Of the peaks' embeddings."""
    place: str
    """Where the result is being written."""
    plan: TablePlan
    scale: Scale
    spans: PeakSpans | None = None
    """For uint8 on the linear scale."""

    @property
    def threads(self) -> int:
        """Shards under way at once in one process: one is computed while another is stored."""
        return _THREADS

    def load(self) -> None:
        """Load what the threads share: two of them would load it twice."""
        _ = self._h_transposed, self.spans and self.spans.scale

    @cached_property
    def _h_transposed(self) -> Tensor:
        return torch.from_numpy(read_embedded(self.peaks_url)).T.contiguous()

    def __call__(self, unit: Unit) -> Receipt:
        """Compute and write cells [start, stop)."""
        start, stop = unit["start"], unit["stop"]
        values = self._encoded(self._values(self.cells[start:stop]))
        return write_rows(self.place, self.plan, start, values.numpy())

    def _values(self, rows: NDArray[np.int64]) -> Tensor:
        """Return predictions, float32 (cells, peaks); never with batch terms."""
        embedding = torch.from_numpy(self.embedding[rows])
        if self.scale != "probability":
            logits = embedding @ self._h_transposed
            return logits if self.scale == "linear" else sigmoid_(logits)
        intercept = torch.from_numpy(self.intercept[rows])
        return sigmoid_(torch.addmm(intercept[:, None], embedding, self._h_transposed))

    def _encoded(self, values: Tensor) -> Tensor:
        """Return values as they are stored; `values` is used up."""
        if self.plan.dtype == "uint8":
            return _steps(values, self.spans)
        if self.plan.dtype == "float32":
            return values
        halves = values.half()
        if not bool(halves.abs().max() <= torch.finfo(torch.float16).max):
            raise UserInputError(
                f"a prediction of {values.abs().max():g} does not fit float16; use float32."
            )
        return halves


def _steps(values: Tensor, spans: PeakSpans | None) -> Tensor:
    """Return uint8 steps, nearest to the values; `values` is used up."""
    steps = np.empty(values.shape, np.uint8)
    factor, offset = _spread(spans)
    for start, stop in runs(len(values), _CACHED_CELLS):
        tile = values[start:stop].numpy()
        tile -= offset
        tile *= factor
        np.rint(tile, out=tile)
        np.clip(tile, 0, _STEPS, out=tile)  # a span may differ by a rounding
        steps[start:stop] = tile
    return torch.from_numpy(steps)


def _spread(spans: PeakSpans | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return steps per unit of value, and the value of step 0."""
    if spans is None:
        return np.array([_STEPS], np.float32), np.zeros(1, np.float32)
    scale = spans.scale
    factor = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    return factor, spans.lowest
