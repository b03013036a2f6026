"""What a user chooses about a simulated atlas, and the random streams that follow from the seed.

Every part of a simulation draws from a stream of its own, named by what it is for and by an
index. So a block of cells is the same whatever was made before it, and any part can be made alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from atlasstore.errors import UserInputError

__all__ = ["SimulationConfig", "Stream", "stream"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationConfig:
    """The dials of a simulation.

    Raises
    ------
    UserInputError
        Naming the field, the value and what is allowed.
    """

    n_cells: int = 2000
    """Cells, 1 or more."""
    n_peaks: int = 10000
    """Peaks, 10 or more."""
    n_cell_types: int = 8
    """Cell types, 1 or more."""
    rare_types: int = 0
    """How many of them, the last, are rare: 0 to all but one."""
    rare_share: float = 0.01
    """Share of the cells of each rare type, above 0; half of the cells together at most."""
    motifs: str | None = None
    """Path or URL of a MEME file to draw motifs from; None is the built-in set."""
    n_motifs: int = 16
    """Motifs planted, 1 or more; the built-in set has 24."""
    n_batches: int = 1
    """Batches, 1 or more; 1 means no batch effect."""
    density: float = 0.05
    """Expected share of open peaks in a cell of median depth, above 0 and at most 0.5."""
    depth_sd: float = 0.5
    """Standard deviation of the natural logarithm of a cell's depth, 0 to 3."""
    batch_effect: float = 0.3
    """Sd over the peaks of what a batch adds to the log rates, by its TFs' activities, 0 to 3."""
    batch_shift: float = 0.0
    """What a batch adds to, or takes from, the log rates of its own peaks, 0 to 3."""
    batch_shift_share: float = 0.2
    """Share of the peaks that are a batch's own: for each batch others, whatever their sequence."""
    batch_mix: float = 0.0
    """How far the batches' shares of the cell types differ: 0 not at all, 0.5 by chance (uniform on
    the simplex), 0.9 most have one type or two; below 1."""
    seed: int = 0
    """Seed, 0 or more: the same configuration gives the same files."""

    def __post_init__(self) -> None:
        for field, least in _LEAST.items():
            _check_count(field, getattr(self, field), least)
        for field, most in _MOST.items():
            _check_number(field, getattr(self, field), most)
        if self.density <= 0:
            raise UserInputError("density is 0; it must be above 0 and at most 0.5.")
        if self.batch_mix == 1:
            raise UserInputError("batch_mix is 1; it must be 0 or more and below 1.")
        _check_rare(self.rare_types, self.rare_share, self.n_cell_types)


_LEAST = {
    "n_cells": 1,
    "n_peaks": 10,
    "n_cell_types": 1,
    "rare_types": 0,
    "n_motifs": 1,
    "n_batches": 1,
    "seed": 0,
}
_MOST = {
    "rare_share": 0.5,
    "density": 0.5,
    "depth_sd": 3.0,
    "batch_effect": 3.0,
    "batch_shift": 3.0,
    "batch_shift_share": 1.0,
    "batch_mix": 1.0,
}


def _check_count(field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserInputError(f"{field} is {value!r}; it must be a whole number, {least} or more.")


def _check_number(field: str, value: object, most: float) -> None:
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not ok or not math.isfinite(value) or not 0 <= value <= most:  # type: ignore[arg-type,operator]
        raise UserInputError(f"{field} is {value!r}; it must be a number from 0 to {most:g}.")


def _check_rare(n_rare: int, share: float, n_types: int) -> None:
    if n_rare >= n_types:
        raise UserInputError(
            f"rare_types is {n_rare} of {n_types} cell types; at least one must not be rare."
        )
    if n_rare and not 0 < n_rare * share <= 0.5:
        raise UserInputError(
            f"rare_share is {share:g} for each of {n_rare} rare types; it must be above 0, and "
            f"together they may have half of the cells at most: {0.5 / n_rare:g} each."
        )


class Stream(IntEnum):
    """What a random stream is for. The numbers are part of what a seed means: never renumber."""

    PEAKS = 0
    BACKGROUND = 1
    SITES = 2
    ACTIVITIES = 3
    BIAS = 4
    TYPE_SHARES = 5
    CELLS = 6
    COUNTS = 7
    MOTIF_CHOICE = 8
    BATCH_SHIFTS = 9
    BATCH_SHARES = 10


def stream(seed: int, purpose: Stream, index: int = 0) -> np.random.Generator:
    """Return the generator of one purpose and index, independent of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), index)))
