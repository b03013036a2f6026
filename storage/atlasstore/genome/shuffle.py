"""Shuffling DNA so that every dinucleotide occurs as often as before.

A sequence is a walk over the multigraph whose vertices are bases and whose edges are the sequence's
dinucleotides; its shuffles are the Eulerian walks from its first base to its last (Altschul and
Erickson 1985, Mol Biol Evol 2:526). Such a walk is given by the order in which each base's edges
are left, and an order gives a walk if and only if the last edges left, of all bases but the end,
form a tree towards the end. So: draw that tree uniformly, put each base's remaining edges in a
uniform order, walk. The tree is drawn by loop-erased random walks (Wilson's algorithm; Propp and
Wilson 1998, J Algorithms 27:170), as uShuffle does (Jiang et al. 2008, BMC Bioinformatics 9:192),
which produced the published backgrounds; nothing is drawn twice. Every sequence with these
dinucleotides and these ends is equally likely, because each corresponds to equally many labelled
walks.

Unknown bases keep their positions: each stretch of known bases between them is shuffled
separately. So dinucleotides with an unknown base are also kept, and the first and last base of each
stretch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba
import numpy as np

from atlasstore.errors import UserInputError
from atlasstore.genome.sequences import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dinucleotide_shuffle"]

_BASES = 4


def dinucleotide_shuffle(codes: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return one shuffle of a sequence, drawn uniformly from all that keep its dinucleotides.

    Parameters
    ----------
    codes
        uint8, shape (L,): A, C, G, T = 0..3, unknown 4.
    rng
        Gives the random numbers, about 2 L of them.

    Returns
    -------
    numpy.ndarray
        uint8, shape (L,): the same number of each dinucleotide, the same first and last base, and
        unknown bases at the same places.

    Raises
    ------
    UserInputError
        When `codes` is no vector of such codes.
    """
    given = np.asarray(codes)
    if given.ndim != 1 or given.dtype != np.uint8 or (given > UNKNOWN).any():
        raise UserInputError(
            f"a sequence to shuffle must be a vector of uint8 codes 0 to {UNKNOWN}; this one is "
            f"{given.dtype} of shape {given.shape}."
        )
    shuffled = given.copy()
    _shuffle_runs(shuffled, rng)
    return shuffled


@numba.njit(cache=True)
def _shuffle_runs(codes: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Shuffle every run of known bases, in place."""
    start = 0
    for i in range(len(codes) + 1):
        if i == len(codes) or codes[i] >= _BASES:
            if i - start > 3:  # shorter runs have no other shuffle
                _shuffle(codes[start:i], rng)
            start = i + 1


@numba.njit(cache=True)
def _shuffle(bases: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Shuffle known bases, in place."""
    first, last = bases[0], bases[-1]
    successors, edges = _successors(bases)
    towards = _draw_tree(successors, edges, last, rng)
    for base in range(_BASES):
        at, stop = edges[base], edges[base + 1]
        if base != last and stop > at:
            _put_last(successors[at:stop], towards[base])
            stop -= 1
        _permute(successors[at:stop], rng)
    left = edges[:_BASES].copy()
    base = first
    for i in range(1, len(bases)):
        base = successors[_next(left, base)]
        bases[i] = base


@numba.njit(cache=True)
def _below(n: int, rng: np.random.Generator) -> int:
    """Draw from 0 .. n - 1, equally likely to within n / 2**53; 5 times as fast as `integers`."""
    return int(rng.random() * n)


@numba.njit(cache=True)
def _next(left: NDArray[np.int64], base: int) -> int:
    """Return where the next edge out of `base` is, and count it as left."""
    at = left[base]
    left[base] += 1
    return int(at)


@numba.njit(cache=True)
def _successors(bases: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return what follows each base, base after base, and where each base's part begins."""
    edges = np.zeros(_BASES + 1, np.int64)
    for base in bases[:-1]:
        edges[base + 1] += 1
    edges = np.cumsum(edges)
    successors = np.empty(len(bases) - 1, np.uint8)
    filled = edges[:_BASES].copy()
    for i in range(len(bases) - 1):
        successors[_next(filled, bases[i])] = bases[i + 1]
    return successors, edges


@numba.njit(cache=True)
def _draw_tree(
    successors: NDArray[np.uint8], edges: NDArray[np.int64], root: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw, for every base but the root, the edge that is left last: a uniform tree to the root."""
    towards = np.zeros(_BASES, np.uint8)
    in_tree = edges[1:] == edges[:-1]  # a base that nothing follows does not occur, or is the root
    in_tree[root] = True
    for base in range(_BASES):
        at = base
        while not in_tree[at]:  # walking over a base again erases the loop
            towards[at] = successors[edges[at] + _below(edges[at + 1] - edges[at], rng)]
            at = towards[at]
        at = base
        while not in_tree[at]:
            in_tree[at] = True
            at = towards[at]
    return towards


@numba.njit(cache=True)
def _put_last(successors: NDArray[np.uint8], wanted: int) -> None:
    """Exchange the last of a base's edges with one that leads to `wanted`."""
    for i in range(len(successors)):
        if successors[i] == wanted:
            successors[i] = successors[-1]
            successors[-1] = wanted
            return


@numba.njit(cache=True)
def _permute(values: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Put the values in a uniformly random order, in place (Fisher and Yates)."""
    for i in range(len(values) - 1, 0, -1):
        j = _below(i + 1, rng)
        values[i], values[j] = values[j], values[i]
