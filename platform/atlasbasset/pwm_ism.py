"""PWM-ISM: how well the scores at a motif's site follow the motif (paper, Methods, "ISM").

A site's score is the Pearson correlation, or the dot product, of the motif's probabilities with the
scores of all four bases at the site, in the orientation of the motif. Scores sum to zero over the
bases, so only differences between the bases of a position count.

The null is from shuffled input: the region's positions in another order, each with its own base
and scores, such that the sequence keeps its dinucleotide counts. Motifs are looked for anew in many
such shuffles, and their chance sites scored alike. A site's p-value is the share of chance sites of
the same motif in the same region, in the same group of cells, that score as much or more, both
counts plus one. So a region whose bases matter much throughout, or a motif of bases that always
matter, is no evidence by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from atlasbasset.motif_hits import Hits, find_hits
from atlasstore.blocks import runs
from atlasstore.shuffle import dinucleotide_shuffle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasstore.motifs import Motif

__all__ = ["METHODS", "Method", "SiteScores", "score_sites", "shuffled_positions", "site_scores"]

Method = Literal["pearson", "dot"]
METHODS: tuple[Method, ...] = ("pearson", "dot")

_GATHERED = 1 << 24  # numbers at once


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
    """
    hits = find_hits(motifs, codes, p=hit_p)
    straight = np.broadcast_to(np.arange(codes.shape[1]), codes.shape)
    score = _all_scores(motifs, hits, scores, straight, hits.sequence, method)
    order = np.concatenate(
        [shuffled_positions(c, n_shuffles, rng) for c, rng in zip(codes, rngs, strict=True)]
    )
    region = np.repeat(np.arange(len(codes)), n_shuffles)
    null_hits = find_hits(motifs, codes[region[:, None], order], p=hit_p)
    null_region = region[null_hits.sequence]
    null = _all_scores(motifs, null_hits, scores, order, null_region, method)
    p, n_null = _compared(hits, score, null_hits, null_region, null)
    return SiteScores(hits, score, p, n_null)


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
    flat = effects.reshape(len(effects), -1, effects.shape[-1])
    found: NDArray[np.float32] = (weights.reshape(len(weights), 1, -1) @ flat)[:, 0]
    if method == "dot":
        return found
    norm = np.linalg.norm(forward) * np.sqrt(np.square(flat).sum(1))
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


def _compared(
    hits: Hits,
    score: NDArray[np.float32],
    null_hits: Hits,
    null_region: NDArray[np.int64],
    null: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return p (H, G) and the number of chance sites (H,) of the same motif and region."""
    n_regions = int(max(hits.sequence.max(initial=0), null_region.max(initial=0))) + 1
    key, null_key = (
        motif * n_regions + region
        for motif, region in ((hits.motif, hits.sequence), (null_hits.motif, null_region))
    )
    order = np.argsort(null_key, kind="stable")
    first, last = (np.searchsorted(null_key[order], key, side=side) for side in ("left", "right"))
    n_above = np.zeros(score.shape, np.int64)
    for row in range(len(key)):
        n_above[row] = (null[order[first[row] : last[row]]] >= score[row]).sum(0)
    n_null = last - first
    return (1 + n_above) / (1 + n_null[:, None]), n_null
