"""A genome-like background sequence, and FASTA.

The background is a first-order Markov chain whose dinucleotide frequencies are those of the human
genome, rounded: GC 0.41, CpG at a quarter of what its bases would give. Real genomes also vary in
GC along their length, so the chain runs in regions of 10 kb, each with one of five GC levels
(about 0.33 to 0.49), drawn with weights 1:2:2:2:1. Regions start independently of each other.

All regions of a chromosome advance together, one base per step, by table look-up: transition
probabilities are rounded to 1/4096.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DINUCLEOTIDES", "LINE_BP", "background", "transitions", "write_fasta_record"]

DINUCLEOTIDES = np.array(
    [
        [0.098, 0.050, 0.070, 0.077],
        [0.073, 0.052, 0.010, 0.070],
        [0.059, 0.043, 0.052, 0.050],
        [0.066, 0.059, 0.073, 0.098],
    ]
)
"""Frequency of base (row) followed by base (column), A, C, G, T; the same on both strands."""
GC_TILTS = np.array([-0.34, -0.17, 0.0, 0.17, 0.34])
"""Change of each GC level to the log odds of a GC base."""
_TILT_WEIGHTS = np.array([1, 2, 2, 2, 1]) / 8
REGION_BP = 10_000
LINE_BP = 60
"""Bases on a line of the FASTA."""

_BITS = 12
_STEPS_AT_ONCE = 1000
_LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)


def transitions(tilt: float) -> NDArray[np.float64]:
    """Return the transition matrix (4, 4) of the GC level with this tilt; rows sum to 1."""
    factor = np.exp(tilt * np.array([-0.5, 0.5, 0.5, -0.5]))
    tilted = DINUCLEOTIDES * factor[None, :] * factor[:, None]
    return np.asarray(tilted / tilted.sum(axis=1, keepdims=True))


def background(length_bp: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw `length_bp` bases.

    Returns
    -------
    numpy.ndarray
        uint8, shape (length_bp,): 0, 1, 2, 3 for A, C, G, T.
    """
    n_regions = -(-length_bp // REGION_BP)
    table = _next_state_table()
    levels = rng.choice(len(GC_TILTS), size=n_regions, p=_TILT_WEIGHTS)
    bases = rng.choice(4, size=n_regions, p=DINUCLEOTIDES.sum(axis=1))
    state = ((levels * 4 + bases) << _BITS).astype(np.int32)
    codes = np.empty((n_regions, REGION_BP), dtype=np.uint8)
    for start in range(0, REGION_BP, _STEPS_AT_ONCE):
        states = _advance(state, table, rng)
        codes[:, start : start + _STEPS_AT_ONCE] = ((states >> _BITS) & 3).T
        state = states[-1]
    return codes.reshape(-1)[:length_bp]


def _advance(
    state: NDArray[np.int32], table: NDArray[np.int32], rng: np.random.Generator
) -> NDArray[np.int32]:
    """Return the next states of all regions, shape (steps, regions)."""
    draws = rng.integers(0, 1 << _BITS, size=(_STEPS_AT_ONCE, state.size), dtype=np.uint16)
    states = np.empty(draws.shape, dtype=np.int32)
    for step in range(_STEPS_AT_ONCE):
        state = table.take(state + draws[step], out=states[step], mode="clip")
    return states


def _next_state_table() -> NDArray[np.int32]:
    """Map (level, base, draw) to the next (level, base), both as positions of their row's start."""
    quantiles = (np.arange(1 << _BITS) + 0.5) / (1 << _BITS)
    rows = []
    for level, tilt in enumerate(GC_TILTS):
        for probabilities in transitions(float(tilt)):
            base = np.searchsorted(np.cumsum(probabilities)[:3], quantiles)
            rows.append((level * 4 + base) << _BITS)
    return np.concatenate(rows).astype(np.int32)


def write_fasta_record(
    file: BinaryIO, name: str, codes: NDArray[np.uint8], *, lines_at_once: int = 1 << 16
) -> None:
    """Write one chromosome, `LINE_BP` bases to a line, in pieces."""
    file.write(f">{name}\n".encode())
    n_whole = codes.size // LINE_BP
    for first in range(0, n_whole, lines_at_once):
        stop = min(first + lines_at_once, n_whole)
        lines = np.full((stop - first, LINE_BP + 1), ord("\n"), dtype=np.uint8)
        piece = codes[first * LINE_BP : stop * LINE_BP]
        lines[:, :LINE_BP] = _LETTERS[piece].reshape(-1, LINE_BP)
        file.write(lines.tobytes())
    rest = codes[n_whole * LINE_BP :]
    if rest.size:
        file.write(_LETTERS[rest].tobytes() + b"\n")
