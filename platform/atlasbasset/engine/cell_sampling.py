"""Which cells each step samples when it does not use all: integers only, a function of the seed.

The cells are cut into tiles of nearly equal size, the tiles into strata of `one_in` neighbours. A
step samples one tile of every stratum, without replacement: in `one_in` consecutive steps every
cell is sampled exactly once. So each cell is sampled with probability ``1 / one_in`` (sums over
sampled cells times `one_in` are unbiased), a step's cells are spread over the whole atlas (in which
cells of one sample are neighbours), and one number gives how often any cell has been sampled.
Nothing depends on the number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atlasbasset.core.seeds import Stream

__all__ = ["CellSampling"]

_TILE_CELLS = 1024
_MIN_STRATA = 64


@dataclass(frozen=True, slots=True)
class CellSampling:
    """A plan of tiles and strata; made by `CellSampling.plan`."""

    n_cells: int
    one_in: int
    """Tiles of a stratum; 1 means that every step uses every cell."""
    n_strata: int
    seed: int

    @classmethod
    def plan(cls, n_cells: int, cells_per_step: int, *, seed: int) -> CellSampling:
        """Plan steps that sample about `cells_per_step` of `n_cells` cells (0: all of them).

        Tiles have about 1,024 cells, fewer when there would not be 64 strata to spread them over.
        """
        if cells_per_step <= 0 or cells_per_step >= n_cells:
            return cls(n_cells, 1, 1, seed)
        one_in = max(1, round(n_cells / cells_per_step))
        strata = max(-(-n_cells // (one_in * _TILE_CELLS)), min(_MIN_STRATA, n_cells // one_in), 1)
        return cls(n_cells, one_in, strata, seed)

    def sampled(self, step: int) -> list[tuple[int, int]]:
        """Return the (start, stop) ranges of cells sampled by step `step` (from 0), ascending."""
        cycle, turn = divmod(step, self.one_in)
        rng = np.random.default_rng([self.seed, Stream.CELLS, cycle])
        turns = np.tile(np.arange(self.one_in), (self.n_strata, 1))
        chosen = rng.permuted(turns, axis=1)[:, turn]
        tile = np.arange(self.n_strata) * self.one_in + chosen
        n_tiles = self.n_strata * self.one_in
        starts, stops = tile * self.n_cells // n_tiles, (tile + 1) * self.n_cells // n_tiles
        return list(zip(starts.tolist(), stops.tolist(), strict=True))

    def tiles(self, step: int, first_cell: int, last_cell: int) -> tuple[slice, ...] | None:
        """Return the sampled cells of a worker with [first, last), as its rows; None for all."""
        if self.one_in == 1:
            return None
        within = [(max(a, first_cell), min(b, last_cell)) for a, b in self.sampled(step)]
        return tuple(slice(a - first_cell, b - first_cell) for a, b in within if a < b)

    def visits(self, step: int) -> int:
        """Return how often the cells of step `step` (from 0) were sampled, including it."""
        return step // self.one_in + 1
