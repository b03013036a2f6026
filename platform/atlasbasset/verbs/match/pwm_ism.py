"""PWM-ISM: how well the scores at a motif's site follow the motif (docs/method.md, "PWM-ISM").

A site's score is the Pearson correlation, or the dot product, of the motif's probabilities with the
scores of all four bases at the site, in the orientation of the motif. Scores sum to zero over the
bases, so only differences between the bases of a position count. Its p-value is the share of chance
sites that score as much (`verbs.match.null`).

Sites are many: motifs x 2 `hit_p` x bases, each with a score in every group. They are found in a
few regions at a time, so that their number does not decide the memory. Sums are taken one product
after the other, so that no number depends on how many others are computed with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from atlasbasset.verbs.match.hits import SITE_BYTES, Hits, find_hits
from atlasbasset.verbs.match.null import region_scale
from atlasbasset.verbs.match.site_scores import site_scores
from atlasbasset.verbs.match.sizes import SIZES
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.match.null import Null
    from atlasbasset.verbs.match.site_scores import Method
    from atlasbasset.verbs.match.sizes import Sizes
    from atlasstore.genome.motifs import Motif

__all__ = ["SiteScores", "regions_at_once", "score_sites"]

_SCORED_BYTES = 24
"""Of a site in a group: score, p, chance sites above."""
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


def regions_at_once(
    span_bp: int, *, n_motifs: int, n_groups: int, hit_p: float, sizes: Sizes = SIZES
) -> int:
    """Return how many regions to give to `score_sites`, at least 1, for about 100 MB."""
    sites = n_motifs * _STRANDS * hit_p * span_bp
    return min(
        sizes.of_part(sites * (SITE_BYTES + n_groups * _SCORED_BYTES)),
        sizes.of_part(span_bp * 4 * n_groups * np.float32().nbytes),
    )


def score_sites(
    motifs: Sequence[Motif],
    codes: NDArray[np.uint8],
    scores: NDArray[np.float32],
    null: Null,
    *,
    method: Method,
    hit_p: float,
    sizes: Sizes = SIZES,
) -> SiteScores:
    """Find and score the sites of motifs in regions.

    Parameters
    ----------
    motifs
        Those that `null` was drawn for.
    codes
        uint8 (R, L), 0..4.
    scores
        float32 (R, L, 4, G), normalised: their sum over the bases is 0.
    null
        Scores of chance sites.
    method
        "pearson" or "dot", as for `null`.
    hit_p
        FIMO's p-value of a site is below this.
    sizes
        What is held at once.
    """
    hits = find_hits(motifs, codes, p=hit_p)
    score = np.empty((len(hits), scores.shape[-1]), np.float32)
    p, n_null = np.empty(score.shape), np.empty(len(hits), np.int64)
    scale = region_scale(codes, scores)
    for motif, at in hits.by_motif():
        score[at] = _scored(motifs[motif], hits, at, scores, method, sizes)
        # a correlation is free of the region's scale
        by = scale[hits.sequence[at]] if method == "dot" else np.float32(1)
        p[at] = null.p(motif, score[at] / by)
        n_null[at] = null.n[motif]
    return SiteScores(hits, score, p, n_null)


def _scored(
    motif: Motif,
    hits: Hits,
    at: slice,
    scores: NDArray[np.float32],
    method: Method,
    sizes: Sizes,
) -> NDArray[np.float32]:
    """Score the sites of one motif, (H, G)."""
    found = np.empty((at.stop - at.start, scores.shape[-1]), np.float32)
    for a, b in runs(len(found), sizes.sites(motif.width, scores.shape[-1])):
        part = slice(at.start + a, at.start + b)
        places = hits.start[part, None] + np.arange(motif.width)
        effects = scores[hits.sequence[part, None], places]
        found[a:b] = site_scores(motif, effects, hits.reverse[part], method=method)
    return found
