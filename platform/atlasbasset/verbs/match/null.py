"""Chance sites: what a motif's sites would score if they lay anywhere else.

Importance comes in blocks, the sites of other factors, and a site lies on a block or beside it. A
null from single positions in another order breaks the blocks, and its p-values are too small. So
scores stay where they are and sites move: a chance site is a word that FIMO takes for the motif
somewhere in the regions, laid at a random place of a random one, over the scores that stand there,
one after the other.

What a base does depends on the base that stands there, so each position's scores are turned to the
word: base ``b`` gets the score of ``b ^ word ^ there`` (codes 0..3). The word's base then has the
score of the base that stood there, and the others keep their kinship to it, as ``^ 2`` is the
transition and ``^ 3`` the complement.

The chance sites of a motif are pooled over regions, so that how small p can be does not depend on
the length of one. For regions and bases to be comparable,

* scores are divided by the root mean square of their region, in each group of cells: a region whose
  bases matter throughout is no evidence;
* a position's scores are multiplied by what the word's base has on average (root mean square over
  the regions), over what the base there has: nor is a motif made of bases that matter everywhere;
* places that share a base with a site of the same motif are left out, because what is tested is no
  chance site; they stay where they are more than half of a region's places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from atlasbasset.verbs.match.chance_sites import lay_words, own_sites, some_words
from atlasbasset.verbs.match.site_scores import site_scores
from atlasbasset.verbs.match.sizes import SIZES
from atlasstore.events import Progress, ignore
from atlasstore.genome.sequences import UNKNOWN
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from atlasbasset.verbs.match.chance_sites import ChanceSites
    from atlasbasset.verbs.match.site_scores import Method
    from atlasbasset.verbs.match.sizes import Sizes
    from atlasstore.events import Subscriber
    from atlasstore.genome.motifs import Motif

    Floats = NDArray[np.float32]
    Codes = NDArray[np.uint8]

__all__ = ["Null", "ScoredRegions", "draw_null", "region_scale"]

_STAGE = "drawing chance sites"
_PLACES, _WORDS, _REGIONS = 0, 1, 2
"""Purposes of the random streams; part of what a seed means: never renumber."""


class ScoredRegions(Protocol):
    """Regions with scores in G groups of cells, read run by run."""

    @property
    def n_regions(self) -> int:
        """R."""

    @property
    def n_groups(self) -> int:
        """G."""

    def codes(self, start: int, stop: int) -> Codes:
        """Return the bases of regions [start, stop), uint8 (stop - start, L), 0..4."""

    def scores(self, start: int, stop: int) -> Floats:
        """Return their scores, float32 (stop - start, L, 4, G)."""


def region_scale(codes: Codes, scores: Floats) -> Floats:
    """Return the root mean square of each region's scores at known bases, float32 (R, G).

    1 where there is nothing to divide by.
    """
    is_known = (codes != UNKNOWN)[..., None, None]
    n = 4 * np.maximum(1, is_known.sum((1, 2))[:, 0, None])
    squares = np.square(scores, dtype=np.float64).sum((1, 2), where=is_known)
    found: Floats = np.sqrt(squares / n).astype(np.float32)
    return np.where(found > 0, found, np.float32(1))


@dataclass(frozen=True, eq=False, slots=True)
class Null:
    """Scores of chance sites; made by `draw_null`."""

    sorted_scores: Floats
    """(M, G, N), rising; of motif m the first ``n[m]``."""
    n: NDArray[np.int64]
    """(M,): chance sites of each motif."""

    def p(self, motif: int, values: Floats) -> NDArray[np.float64]:
        """Return p-values of a motif's sites, (H, G), from scores on the null's scale.

        ``(1 + chance sites that score as much or more) / (1 + chance sites)``.
        """
        n = int(self.n[motif])
        above = np.empty(values.shape, np.int64)
        for group in range(values.shape[1]):
            chance = self.sorted_scores[motif, group, :n]
            above[:, group] = n - np.searchsorted(chance, values[:, group])
        return np.asarray((1 + above) / (1 + n))


def draw_null(
    motifs: Sequence[Motif],
    regions: ScoredRegions,
    *,
    method: Method,
    hit_p: float,
    n_null: int,
    seed: int,
    at_once: int,
    folder: Path,
    most_regions: int = 500,
    sizes: Sizes = SIZES,
    on_event: Subscriber = ignore,
) -> Null:
    """Lay chance sites of each motif into regions and score them.

    Parameters
    ----------
    motifs
        M motifs.
    regions
        Give bases and scores; of more than `most_regions`, so many are drawn from.
    method
        Score of a site, "pearson" or "dot".
    hit_p
        FIMO's p-value of a word is below this.
    n_null
        N: chance sites of each motif, or a few more; fewer where regions and words make fewer.
    seed
        Of regions, words and places; a motif's chance sites do not depend on the other motifs.
    at_once
        Regions whose scores are held at once.
    folder
        Where a file of M x G x N float32 is kept while the null is in use.
    most_regions
        Regions that chance sites are drawn from.
    sizes
        What is held at once besides.
    on_event
        Hears `Progress`.
    """
    rows = _some_rows(regions.n_regions, most_regions, seed)
    source = _Source(regions, rows, at_once)
    sites = own_sites(motifs, source.codes, hit_p, sizes)
    words = [
        some_words(motif, source.codes, own, [seed, _WORDS])
        for motif, own in zip(motifs, sites, strict=True)
    ]
    base_scale = _base_scale(source)
    draws = _draws(rows, -(-n_null // len(rows)), seed)
    shape = (len(motifs), regions.n_groups, draws.size)
    scores = np.lib.format.open_memmap(folder / "null.npy", "w+", np.float32, shape)
    n = np.zeros(len(motifs), np.int64)
    on_event(Progress(_STAGE, 0, len(rows), "regions"))
    for first, codes, comparable in source:
        last = first + len(codes)
        for number, motif in enumerate(motifs):
            own = sites[number].within(first, last)
            chance = lay_words(words[number], codes, own, draws[first:last])
            found = _scored(motif, chance, codes, comparable, base_scale, method, sizes)
            scores[number, :, n[number] : n[number] + len(found)] = found.T
            n[number] += len(found)
        on_event(Progress(_STAGE, last, len(rows), "regions"))
    for of_motif, count in zip(scores, n.tolist(), strict=True):
        of_motif[:, :count].sort(axis=-1)
    return Null(scores, n)


def _draws(rows: NDArray[np.int64], n_draws: int, seed: int) -> NDArray[np.float64]:
    """Return uniform numbers for each region, (R, n_draws); those of a region are its own."""
    streams = (np.random.default_rng([seed, _PLACES, row]) for row in rows.tolist())
    return np.stack([stream.random(n_draws) for stream in streams])


def _some_rows(n_regions: int, most: int, seed: int) -> NDArray[np.int64]:
    if n_regions <= most:
        return np.arange(n_regions)
    rng = np.random.default_rng([seed, _REGIONS])
    return np.sort(rng.choice(n_regions, most, replace=False))


class _Source:
    """Regions that chance sites are drawn from: all their bases, their scores a few at a time."""

    def __init__(self, regions: ScoredRegions, rows: NDArray[np.int64], at_once: int) -> None:
        self._regions, self._rows, self._at_once = regions, rows, at_once
        self.codes = np.concatenate([regions.codes(a, b) for a, b in _row_runs(rows)])

    def __iter__(self) -> Iterator[tuple[int, Codes, Floats]]:
        """Yield the first of some regions, their bases, and their scores over `region_scale`."""
        for start, stop in runs(len(self._rows), self._at_once):
            read = [self._regions.scores(a, b) for a, b in _row_runs(self._rows[start:stop])]
            codes, scores = self.codes[start:stop], np.concatenate(read)
            yield start, codes, scores / region_scale(codes, scores)[:, None, None]


def _row_runs(rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return runs [start, stop) of rising rows."""
    parts = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]


def _base_scale(source: _Source) -> Floats:
    """Return the root mean square of the scores where each base stands, float32 (4, G)."""
    total: NDArray[np.float64] | float = 0.0
    n = np.zeros((4, 1))
    for _, codes, comparable in source:
        squares = np.square(comparable, dtype=np.float64).mean(2)
        total = total + np.stack([squares[codes == base].sum(0) for base in range(4)])
        n += np.bincount(codes.ravel(), minlength=5)[:4, None]
    found: Floats = np.sqrt(total / np.maximum(n, 1)).astype(np.float32)
    return found


def _scored(
    motif: Motif,
    chance: ChanceSites,
    codes: Codes,
    comparable: Floats,
    base_scale: Floats,
    method: Method,
    sizes: Sizes,
) -> Floats:
    """Return the scores of chance sites, float32 (n, G)."""
    found = np.empty((len(chance.start), comparable.shape[-1]), np.float32)
    weight = np.where(base_scale > 0, base_scale, 1)
    for a, b in runs(len(found), sizes.sites(motif.width, found.shape[1])):
        region, words = chance.region[a:b, None], chance.words[a:b]
        places = chance.start[a:b, None] + np.arange(motif.width)
        there = codes[region, places]
        bases = np.arange(4, dtype=np.uint8) ^ (words ^ there)[..., None]
        effects = comparable[region[..., None], places[..., None], bases]
        effects *= (weight[words] / weight[there])[:, :, None]
        found[a:b] = site_scores(motif, effects, chance.reverse[a:b], method=method)
    return found
