"""Solving an atlas's cells on embedded peaks, block by block, into a model's checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse

from atlasbasset.core.newton import solve_cells, working_bytes
from atlasbasset.verbs.shared.embed_peaks_work import read_embedded
from atlasstore.atlas.atlas import Atlas
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from atlasbasset.batch.run import Row, Unit
    from atlasbasset.core.newton import SolvedCells
    from atlasstore.zarrio.blocks import CellBlock

__all__ = ["SOLVED_STEP", "SolveBlocks", "block_units", "solved_tables", "solving_bytes"]

SOLVED_STEP = 0
"""Of the checkpoint that is written: training took no steps."""

_READ_PEAKS = 4096
_POSITIVE_BYTES = 2 + 4 + 8  # stored index, wider index, one
_REPORTED = ("iterations", "gradient_norm", "objective", "converged", "one_class")


def block_units(blocks: Sequence[CellBlock]) -> list[Unit]:
    """Return a unit for each block of cells."""
    return [{"block": b.index, "start": b.start, "stop": b.stop} for b in blocks]


def solved_tables(width: int) -> Mapping[str, tuple[int, ...]]:
    """Return name -> shape of a row of the tables written, for `CheckpointWriter.begin`."""
    reported = {f"solve/{name}": () for name in _REPORTED}
    return {"cells/embedding": (width,), "cells/intercept": (), **reported}


def solving_bytes(atlas: Atlas, n_fitted: int, width: int) -> int:
    """Return what a `SolveBlocks` holds at most beside the program itself, bytes."""
    solver = working_bytes(n_fitted, atlas.blocks[0].n_cells, width)
    features = (8 * atlas.n_peaks + 4 * n_fitted) * (width + 1)
    positives = max(atlas.block_positives) * min(1.0, _READ_PEAKS / atlas.n_peaks)
    return solver + features + round(_POSITIVE_BYTES * positives)


@dataclass(frozen=True, eq=False)
class SolveBlocks:
    """Work: solve one block's cells exactly and write their rows of the checkpoint.

    Holds the peaks' embeddings and one block's sums and solution at a time.
    """

    atlas: Atlas | str
    """An open atlas, or its URL."""
    rows: NDArray[np.int64]
    """The fitted peaks' rows in the atlas."""
    peaks_url: str
    """Of their embeddings (`create_embedded`)."""
    model_url: str
    """Of the model store whose checkpoint `SOLVED_STEP` has been begun."""
    l2: float
    """As for `solve_cells`."""
    device: str | torch.device | None = None
    """Where to compute; a GPU where there is one, by default."""

    @cached_property
    def _atlas(self) -> Atlas:
        return self.atlas if isinstance(self.atlas, Atlas) else Atlas.open(self.atlas)

    @cached_property
    def _h(self) -> NDArray[np.float32]:
        return read_embedded(self.peaks_url)

    @cached_property
    def _h_on_device(self) -> Tensor:
        found = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return torch.from_numpy(self._h).to(found)

    @cached_property
    def _features(self) -> NDArray[np.float64]:
        return _open_features(self._h, self.rows, self._atlas.n_peaks)

    def __call__(self, unit: Unit) -> Row:
        """Solve and write a block; return the sum of its cells' objectives."""
        block = self._atlas.blocks[unit["block"]]
        sums = torch.from_numpy(_open_sums(self._atlas, block, self._features))
        solved = solve_cells(self._h_on_device, sums, l2=self.l2)
        self._write(block, solved)
        return {"objective": float(solved.objective.sum())}

    def _write(self, block: CellBlock, solved: SolvedCells) -> None:
        # opened anew: when the run has failed meanwhile, nothing is written into a place that is
        # gone
        writer = ModelStore.open(self.model_url).write_checkpoint(SOLVED_STEP)
        for table in solved_tables(0):
            values = getattr(solved, table.rsplit("/", maxsplit=1)[-1])
            writer.write_rows(table, block.start, values.cpu().numpy())


def _open_features(
    h: NDArray[np.float32], rows: NDArray[np.int64], n_peaks: int
) -> NDArray[np.float64]:
    """Return ``[h_p, 1]`` of every peak of the atlas, float64 (P, E + 1); 0 where not fitted."""
    features = np.zeros((n_peaks, h.shape[1] + 1))
    features[rows, :-1], features[rows, -1] = h, 1
    return features


def _open_sums(
    atlas: Atlas, block: CellBlock, features: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum the open peaks' features for each cell of a block, float64 (n_cells, E + 1)."""
    sums = np.zeros((block.n_cells, features.shape[1]))
    for start, stop in runs(atlas.n_peaks, _READ_PEAKS):
        labels = atlas.labels(block.index, start, stop)
        ones = np.ones(len(labels.indices))
        by_peak = sparse.csr_array(
            (ones, labels.indices.astype(np.int32), labels.indptr),
            shape=(stop - start, block.n_cells),
        )
        sums += by_peak.T @ features[start:stop]
    return sums
