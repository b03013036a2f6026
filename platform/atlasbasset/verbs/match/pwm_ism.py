"""PWM-ISM: how well the scores at a motif's site follow the motif (docs/method.md, "PWM-ISM").

A site's score is the Pearson correlation, or the dot product, of the motif's probabilities with the
scores of all four bases at the site, in the orientation of the motif. Scores sum to zero over the
bases, so only differences between the bases of a position count.

The null is from shuffled input: the region's positions in another order, each with its own base
and scores, such that the sequence keeps its dinucleotide counts. Motifs are looked for anew in many
such shuffles, and their chance sites scored alike. A site's p-value is the share of chance sites of
the same motif in the same region, in the same group of cells, that score as much or more, both
counts plus one. So a region whose bases matter much throughout, or a motif of bases that always
matter, is no evidence by itself.

Chance sites are many: motifs x 2 `hit_p` x shuffled bases, each with a score in every group. They
are looked for with a few motifs at a time and scored in a few groups at a time, so that neither
number decides the memory. Sums are taken one product after the other, so that no number depends on
how many others are computed with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from atlasbasset.verbs.match.hits import SITE_BYTES, Hits, find_hits
from atlasstore.genome.shuffle import dinucleotide_shuffle
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasstore.genome.motifs import Motif

__all__ = [
    "METHODS",
    "Method",
    "SiteScores",
    "regions_at_once",
    "score_sites",
    "shuffled_positions",
    "site_scores",
]

Method = Literal["pearson", "dot"]
METHODS: tuple[Method, ...] = ("pearson", "dot")

_PART_BYTES = 24 << 20
"""Of each of four parts: shuffles, chance sites, their scores, sites with theirs."""
_SHUFFLED_BYTES = 24
"""Of a shuffled base: its position, and what FIMO makes of it."""
_SCORED_BYTES = 24
"""Of a site in a group: score, p, chance sites above."""
_GATHERED = 1 << 21
"""Scores at sites that are picked at once."""
_STRANDS = 2


@dataclass(frozen=True, eq=False, slots=True)
class SiteScores:
    """Sites of motifs in regions, scored in each group of cells."""

    hits: Hits
    """H sites; `Hits.sequence` is the region."""
    score: NDArray[np.float32]
    """(H, G)."""
    p: NDArray[np.float64]
    """(H, G), above 0."""
    n_null: NDArray[np.int64]
    """(H,): chance sites that a site was compared with."""


@dataclass(frozen=True, eq=False, slots=True)
class _Shuffles:
    """Shuffles of regions, S of each."""

    order: NDArray[np.int64]
    """(R S, L): positions."""
    region: NDArray[np.int64]
    """(R S,)."""
    codes: NDArray[np.uint8]
    """(R S, L)."""


def regions_at_once(
    span_bp: int, *, n_motifs: int, n_groups: int, n_shuffles: int, hit_p: float
) -> int:
    """Return how many regions to give to `score_sites`, at least 1, for about 200 MB."""
    sites = _STRANDS * hit_p * span_bp
    return min(
        _at_once(n_shuffles * (span_bp * _SHUFFLED_BYTES + sites * SITE_BYTES)),
        _at_once(n_motifs * sites * (SITE_BYTES + n_groups * _SCORED_BYTES)),
        _at_once(span_bp * 4 * n_groups * np.float32().nbytes),
    )


def score_sites(
    motifs: Sequence[Motif],
    codes: NDArray[np.uint8],
    scores: NDArray[np.float32],
    *,
    method: Method,
    hit_p: float,
    n_shuffles: int,
    rngs: Sequence[np.random.Generator],
) -> SiteScores:
    """Find and score the sites of motifs in regions.

    Parameters
    ----------
    motifs
        With distinct names.
    codes
        uint8 (R, L), 0..4.
    scores
        float32 (R, L, 4, G), normalised: their sum over the bases is 0.
    method
        "pearson" or "dot".
    hit_p
        FIMO's p-value of a site is below this.
    n_shuffles
        Of each region.
    rngs
        One generator per region, so that a region's p-values do not depend on the others.

    Notes
    -----
    Holds about 200 MB where there are no more than `regions_at_once`, whatever the numbers of
    motifs and groups; or one region with its shuffles and sites, where that is more.
    """
    hits = find_hits(motifs, codes, p=hit_p)
    straight = np.broadcast_to(np.arange(codes.shape[1]), codes.shape)
    score = _all_scores(motifs, hits, scores, straight, hits.sequence, method)
    shuffles = _shuffled(codes, n_shuffles, rngs)
    p, n_null = np.empty(score.shape), np.empty(len(hits), np.int64)
    chance_bytes = _STRANDS * hit_p * shuffles.codes.size * SITE_BYTES
    for first, last in runs(len(motifs), _at_once(chance_bytes)):
        some, at = hits.of_motifs(first, last)
        p[at], n_null[at] = _p_values(
            motifs[first:last], some, score[at], scores, shuffles, method=method, hit_p=hit_p
        )
    return SiteScores(hits, score, p, n_null)


def _shuffled(
    codes: NDArray[np.uint8], n_shuffles: int, rngs: Sequence[np.random.Generator]
) -> _Shuffles:
    order = np.concatenate(
        [shuffled_positions(c, n_shuffles, rng) for c, rng in zip(codes, rngs, strict=True)]
    )
    region = np.repeat(np.arange(len(codes)), n_shuffles)
    return _Shuffles(order, region, codes[region[:, None], order])


def shuffled_positions(
    codes: NDArray[np.uint8], n_shuffles: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return orders of positions whose bases are dinucleotide shuffles, int64 (n_shuffles, L).

    Which of the positions with one base stands for it is drawn at random.
    """
    by_base = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[by_base], np.arange(6))
    orders = np.empty((n_shuffles, len(codes)), np.int64)
    for order in orders:
        shuffled = np.argsort(dinucleotide_shuffle(codes, rng), kind="stable")
        drawn = [rng.permutation(by_base[a:b]) for a, b in pairwise(edges)]
        order[shuffled] = np.concatenate(drawn)
    return orders


def site_scores(
    motif: Motif, effects: NDArray[np.float32], reverse: NDArray[np.bool_], *, method: Method
) -> NDArray[np.float32]:
    """Score sites of one motif.

    Parameters
    ----------
    motif
        Of width w.
    effects
        float32 (H, w, 4, G): scores of all bases at each site, on the forward strand.
    reverse
        bool (H,): which sites lie on the reverse strand.

    Returns
    -------
    numpy.ndarray
        float32 (H, G); a correlation is 0 where nothing varies.
    """
    forward = (motif.probabilities - 0.25).astype(np.float32)  # what is constant adds nothing
    weights = np.where(reverse[:, None, None], forward[None, ::-1, ::-1], forward[None])
    flat, weights = (v.reshape(len(v), forward.size, -1) for v in (effects, weights))
    found = np.zeros((len(flat), flat.shape[2]), np.float32)
    squares = np.zeros_like(found)
    for at in range(forward.size):
        found += weights[:, at] * flat[:, at]
        squares += np.square(flat[:, at])
    if method == "pearson":
        norm = np.linalg.norm(forward) * np.sqrt(squares)
        np.divide(found, norm, out=found, where=norm > 0)
    return found


def _all_scores(
    motifs: Sequence[Motif],
    hits: Hits,
    scores: NDArray[np.float32],
    order: NDArray[np.int64],
    region: NDArray[np.int64],
    method: Method,
) -> NDArray[np.float32]:
    """Score sites of many motifs, (H, G), in sequences whose positions are those of `order`."""
    found = np.empty((len(hits), scores.shape[-1]), np.float32)
    for motif, at in hits.by_motif():
        width = motifs[motif].width
        most = max(1, _GATHERED // (width * 4 * scores.shape[-1]))
        for a, b in runs(at.stop - at.start, most):
            part = slice(at.start + a, at.start + b)
            places = hits.start[part, None] + np.arange(width)
            positions = order[hits.sequence[part, None], places]
            effects = scores[region[part, None], positions]
            found[part] = site_scores(motifs[motif], effects, hits.reverse[part], method=method)
    return found


def _p_values(
    motifs: Sequence[Motif],
    hits: Hits,
    score: NDArray[np.float32],
    scores: NDArray[np.float32],
    shuffles: _Shuffles,
    *,
    method: Method,
    hit_p: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return p (H, G) and the number of chance sites (H,) of the same motif and region."""
    chance = find_hits(motifs, shuffles.codes, p=hit_p)
    region = shuffles.region[chance.sequence]
    key, null_key = (
        motif * len(scores) + row
        for motif, row in ((hits.motif, hits.sequence), (chance.motif, region))
    )
    order = np.argsort(null_key, kind="stable")
    first, last = (np.searchsorted(null_key[order], key, side=side) for side in ("left", "right"))
    n_above = np.empty(score.shape, np.int64)
    for a, b in runs(score.shape[1], _at_once(len(chance) * np.float32().nbytes)):
        null = _all_scores(motifs, chance, scores[..., a:b], shuffles.order, region, method)
        for row in range(len(key)):
            same = order[first[row] : last[row]]
            n_above[row, a:b] = (null[same] >= score[row, a:b]).sum(0)
    n_null = last - first
    return (1 + n_above) / (1 + n_null[:, None]), n_null


def _at_once(each_bytes: float) -> int:
    """Return how many of something fit into a part of the memory, at least 1."""
    return max(1, int(_PART_BYTES // max(1, each_bytes)))
