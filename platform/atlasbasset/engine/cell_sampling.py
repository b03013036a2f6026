"""Which cells each step meets when it does not meet all: integers only, a function of the seed.

The cells are cut into tiles of nearly equal size, the tiles into strata of `one_in` neighbours. A
step meets one tile of every stratum, drawn without replacement: in `one_in` steps in a row every
cell is met exactly once. So each cell is met with probability ``1 / one_in`` (sums over met cells
times `one_in` are unbiased), a step's cells are spread over the whole atlas (cells of one sample
lie together), and one number says how often any cell has been met. Nothing depends on the number
of workers.
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
    """Tiles of a stratum; 1 means that every step meets every cell."""
    n_strata: int
    seed: int

    @classmethod
    def plan(cls, n_cells: int, cells_per_step: int, *, seed: int) -> CellSampling:
        """Plan steps that meet about `cells_per_step` of `n_cells` cells (0: all of them).

        Tiles have about 1,024 cells, fewer when there would not be 64 strata to spread them over.
        """
        if cells_per_step <= 0 or cells_per_step >= n_cells:
            return cls(n_cells, 1, 1, seed)
        one_in = max(1, round(n_cells / cells_per_step))
        strata = max(-(-n_cells // (one_in * _TILE_CELLS)), min(_MIN_STRATA, n_cells // one_in), 1)
        return cls(n_cells, one_in, strata, seed)

    def met(self, step: int) -> list[tuple[int, int]]:
        """Return the (start, stop) runs of cells that step number `step` (from 0) meets, rising."""
        cycle, turn = divmod(step, self.one_in)
        rng = np.random.default_rng([self.seed, Stream.CELLS, cycle])
        turns = np.tile(np.arange(self.one_in), (self.n_strata, 1))
        chosen = rng.permuted(turns, axis=1)[:, turn]
        tile = np.arange(self.n_strata) * self.one_in + chosen
        n_tiles = self.n_strata * self.one_in
        starts, stops = tile * self.n_cells // n_tiles, (tile + 1) * self.n_cells // n_tiles
        return list(zip(starts.tolist(), stops.tolist(), strict=True))

    def tiles(self, step: int, first_cell: int, last_cell: int) -> tuple[slice, ...] | None:
        """Return what a worker with cells [first, last) meets, in its own rows; None for all."""
        if self.one_in == 1:
            return None
        within = [(max(a, first_cell), min(b, last_cell)) for a, b in self.met(step)]
        return tuple(slice(a - first_cell, b - first_cell) for a, b in within if a < b)

    def visits(self, step: int) -> int:
        """Return how often the cells of step `step` (from 0) have been met, that step included."""
        return step // self.one_in + 1
