"""Solving an atlas's cells on embedded peaks, and putting them into a model's checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import sparse

from atlasbasset.batch.scratch import scratch_group
from atlasbasset.core.newton import solve_cells, working_bytes
from atlasbasset.verbs.shared.embed_peaks_work import read_embedded
from atlasstore.atlas.atlas import Atlas
from atlasstore.results.writer import TableWriter
from atlasstore.zarrio import arrays
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import zarr
    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.core.newton import SolvedCells
    from atlasstore.resume.units import Receipt, Unit
    from atlasstore.zarrio.blocks import CellBlock
    from atlasstore.zarrio.table_plan import TablePlan

__all__ = [
    "READ_PEAKS",
    "SOLVED_STEP",
    "AssembleBlocks",
    "BatchRows",
    "SolveCells",
    "block_units",
    "cell_units",
    "create_solved",
    "labels_by_peak",
    "open_features",
    "open_sums",
    "read_solved",
    "reading_bytes",
    "solved_tables",
    "solving_bytes",
]

SOLVED_STEP = 0
"""Of the checkpoint that is written: training took no steps."""

READ_PEAKS = 4096
"""Peaks whose labels are read at a time."""

_SOLVED = "solved"
_UNIT_CELLS = 4096
_POSITIVE_BYTES = 2 + 4 + 8  # stored index, wider index, one
_REPORTED = ("iterations", "gradient_norm", "objective", "converged", "one_class")


def cell_units(blocks: Sequence[CellBlock]) -> list[Unit]:
    """Cut the cells into units, each within a block: small enough for hundreds of workers.

    A unit's cells go to the rows from ``row`` on of the array that `create_solved` makes. These are
    one chunk, which no other unit writes.
    """
    size = _unit_cells(blocks)
    return [
        {**block, "start": block["start"] + start, "stop": block["start"] + stop, "row": row}
        for block in block_units(blocks)
        for row, (start, stop) in zip(
            count(block["row"], size), runs(block["stop"] - block["start"], size), strict=False
        )
    ]


def block_units(blocks: Sequence[CellBlock]) -> list[Unit]:
    """Return a unit for each block of cells; ``row`` as in `cell_units`."""
    size = _unit_cells(blocks)
    step = -(-blocks[0].n_cells // size) * size  # all but the last are as large as the first
    return [
        {"block": b.index, "start": b.start, "stop": b.stop, "row": b.index * step} for b in blocks
    ]


def _unit_cells(blocks: Sequence[CellBlock]) -> int:
    return min(_UNIT_CELLS, blocks[0].n_cells)


def solved_tables(width: int, *, with_errors: bool = False) -> Mapping[str, tuple[int, ...]]:
    """Return name -> shape of a row of the tables written, for `CheckpointWriter.begin`."""
    reported = {f"solve/{name}": () for name in _REPORTED}
    errors = {"solve/standard_error": (width,)} if with_errors else {}
    return {"cells/embedding": (width,), "cells/intercept": (), **reported, **errors}


def create_solved(
    url: str, blocks: Sequence[CellBlock], width: int, *, with_errors: bool = False
) -> None:
    """Create the array that `SolveCells` fills, over what an earlier run has left there.

    A row has the values of all tables one after the other: a unit is one stored object.
    """
    size = _unit_cells(blocks)
    columns = _columns(width, with_errors=with_errors)
    arrays.create_array(
        scratch_group(url),
        _SOLVED,
        shape=(len(cell_units(blocks)) * size, sum(columns.values())),
        dtype=np.float32,
        chunk_rows=size,
        fill_value=float("nan"),
        axes=("cell", "value"),
    )


def read_solved(
    url: str, blocks: Sequence[CellBlock], width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Read all cells' embeddings (N, E) and intercepts (N,) from what `SolveCells` has filled."""
    array = arrays.open_member(url, _SOLVED)
    parts = []
    for unit in block_units(blocks):
        stop = unit["row"] + unit["stop"] - unit["start"]
        rows = arrays.read_array(array, unit["row"], stop, url=url)
        if np.isnan(rows).any():
            arrays.check_chunks(array, url=url)
        parts.append(rows[:, : width + 1])  # the tables that come first
    whole = np.concatenate(parts)
    return whole[:, :width].copy(), whole[:, width].copy()


def _columns(width: int, *, with_errors: bool) -> dict[str, int]:
    """Return how many columns of the array each table has."""
    tables = solved_tables(width, with_errors=with_errors)
    return {name: shape[0] if shape else 1 for name, shape in tables.items()}


def solving_bytes(atlas: Atlas, n_fitted: int, width: int) -> int:
    """Return what a `SolveCells` holds at most beside the program itself, bytes."""
    solver = working_bytes(n_fitted, _unit_cells(atlas.blocks), width)
    features = (8 * atlas.n_peaks + 4 * n_fitted) * (width + 1)
    return solver + features + reading_bytes(atlas)


class BatchRows(NamedTuple):
    """What is added to the rows of a batch's cells."""

    embedding: NDArray[np.float32]
    """(B, E)."""
    intercept: NDArray[np.float32]
    """(B,)."""
    apart: tuple[str, ...]
    """New batches in which an effect and other cells look the same: nothing is taken from them."""


@dataclass(frozen=True, eq=False)
class SolveCells:
    """Work: solve some cells of a block exactly.

    Holds the peaks' embeddings and the cells' sums and solution at a time. A unit reads all labels
    of its block, a few percent of the time that solving takes.
    """

    atlas: Atlas | str
    """An open atlas, or its URL."""
    rows: NDArray[np.int64]
    """The fitted peaks' rows in the atlas."""
    peaks_url: str
    """Of their embeddings (`create_embedded`)."""
    url: str
    """Of the array that is filled (`create_solved`)."""
    l2: float
    """As for `solve_cells`."""
    device: str
    """Where to compute."""
    batches: tuple[NDArray[np.int64], BatchRows] | None = None
    """Each cell's batch, and what is added to the rows of a batch's cells."""
    with_errors: bool = False
    """Whether standard errors are written, too."""

    @cached_property
    def _atlas(self) -> Atlas:
        return self.atlas if isinstance(self.atlas, Atlas) else Atlas.open(self.atlas)

    @cached_property
    def _h(self) -> NDArray[np.float32]:
        return read_embedded(self.peaks_url)

    @cached_property
    def _h_on_device(self) -> Tensor:
        return torch.from_numpy(self._h).to(self.device)

    @cached_property
    def _features(self) -> NDArray[np.float64]:
        return open_features(self._h, self.rows, self._atlas.n_peaks)

    def __call__(self, unit: Unit) -> Receipt:
        """Solve and write cells [start, stop); return the sum of their objectives."""
        block = self._atlas.blocks[unit["block"]]
        cells = range(unit["start"] - block.start, unit["stop"] - block.start)
        sums = torch.from_numpy(open_sums(self._atlas, block, cells, self._features))
        solved = self._solved(sums, slice(unit["start"], unit["stop"]))
        values = np.concatenate([self._columns_of(solved, name) for name in self._tables], axis=1)
        whole = np.full((self._array.chunks[0], values.shape[1]), np.nan, np.float32)
        whole[: len(values)] = values
        arrays.write_pieces(self._array, unit["row"], whole)
        return {"objective": float(solved.objective.sum())}

    @cached_property
    def _array(self) -> zarr.Array[Any]:
        return arrays.open_member(self.url, _SOLVED, mode="r+")

    @property
    def _tables(self) -> Mapping[str, tuple[int, ...]]:
        return solved_tables(self._h.shape[1], with_errors=self.with_errors)

    @staticmethod
    def _columns_of(solved: SolvedCells, table: str) -> NDArray[np.float32]:
        values: Tensor = getattr(solved, table.rsplit("/", maxsplit=1)[-1])
        found: NDArray[np.float32] = values.cpu().numpy().reshape(len(values), -1)
        return found.astype(np.float32, copy=False)

    def _solved(self, sums: Tensor, cells: slice) -> SolvedCells:
        """Solve cells around their batches' rows, and take these away."""
        if self.batches is None:
            return solve_cells(self._h_on_device, sums, l2=self.l2, with_errors=self.with_errors)
        codes, rows = self.batches
        shared = torch.from_numpy(rows.embedding[codes[cells]]).to(self.device)
        added = torch.from_numpy(rows.intercept[codes[cells]]).to(self.device)
        solved = solve_cells(
            self._h_on_device, sums, l2=self.l2, prior=shared, with_errors=self.with_errors
        )
        return solved._replace(
            embedding=solved.embedding - shared, intercept=solved.intercept - added
        )


@dataclass(frozen=True, eq=False)
class AssembleBlocks:
    """Work: copy one block's solved cells into the checkpoint, whose chunks are blocks."""

    solved_url: str
    """What `SolveCells` filled."""
    place: str
    """The new model's store."""
    tables: Sequence[TablePlan]
    """The checkpoint's, in the order of the filled array's columns."""

    def __call__(self, unit: Unit) -> Receipt:
        """Copy cells [start, stop), which are a block."""
        row, n_cells = unit["row"], unit["stop"] - unit["start"]
        rows = arrays.read_array(self._solved, row, row + n_cells, url=self.solved_url)
        if np.isnan(rows).any():
            arrays.check_chunks(self._solved, url=self.solved_url)
        first, written = 0, []
        for table, writer in zip(self.tables, self._writers, strict=True):
            last = first + math.prod(table.shape[1:])
            values = rows[:, first:last].reshape(n_cells, *table.shape[1:])
            written.append(writer.write(unit["start"], values))
            first = last
        return {"bytes": sum(block["bytes"] for block in written), "blocks": written}

    @cached_property
    def _writers(self) -> list[TableWriter]:
        return [TableWriter(self.place, table) for table in self.tables]

    @cached_property
    def _solved(self) -> zarr.Array[Any]:
        return arrays.open_member(self.solved_url, _SOLVED)


def open_features(
    h: NDArray[np.float32], rows: NDArray[np.int64], n_peaks: int
) -> NDArray[np.float64]:
    """Return ``[h_p, 1]`` of every peak of the atlas, float64 (P, E + 1); 0 where not fitted."""
    features = np.zeros((n_peaks, h.shape[1] + 1))
    features[rows, :-1], features[rows, -1] = h, 1
    return features


def labels_by_peak(atlas: Atlas, block: CellBlock, start: int, stop: int) -> sparse.csr_array:
    """Return the labels of a run of peaks in a block of cells, float64 (stop - start, cells)."""
    labels = atlas.labels(block.index, start, stop)
    ones, cells = np.ones(len(labels.indices)), labels.indices.astype(np.int32)
    return sparse.csr_array((ones, cells, labels.indptr), shape=(stop - start, block.n_cells))


def reading_bytes(atlas: Atlas) -> int:
    """Return what the labels of `READ_PEAKS` peaks in a block take at most."""
    positives = max(atlas.block_positives) * min(1.0, READ_PEAKS / atlas.n_peaks)
    return round(_POSITIVE_BYTES * positives)


def open_sums(
    atlas: Atlas, block: CellBlock, cells: range, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum the open peaks' features for some cells of a block, float64 (len(cells), E + 1)."""
    sums = np.zeros((len(cells), features.shape[1]))
    for start, stop in runs(atlas.n_peaks, READ_PEAKS):
        by_peak = labels_by_peak(atlas, block, start, stop)
        if len(cells) < block.n_cells:
            by_peak = by_peak[:, cells.start : cells.stop]
        sums += by_peak.T @ features[start:stop]
    return sums
