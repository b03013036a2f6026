"""Words of motifs laid at random places of regions.

A word is what FIMO takes for the motif somewhere in the regions. It may lie wherever all bases are
known and no site of the same motif is.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from atlasbasset.verbs.match.hits import SITE_BYTES, find_hits
from atlasbasset.verbs.match.sizes import SIZES
from atlasstore.genome.motifs import sample
from atlasstore.genome.sequences import UNKNOWN
from atlasstore.zarrio.blocks import runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from atlasbasset.verbs.match.sizes import Sizes
    from atlasstore.genome.motifs import Motif

    Codes = NDArray[np.uint8]

__all__ = ["ChanceSites", "Sites", "Words", "lay_words", "own_sites", "some_words"]

_MOST_WORDS = 256
"""Words of a motif that are laid elsewhere."""


class Sites(NamedTuple):
    """A motif's own sites in the regions that are drawn from, in their order."""

    region: NDArray[np.int32]
    start: NDArray[np.int32]
    reverse: NDArray[np.bool_]

    def within(self, first: int, last: int) -> Sites:
        """Return the sites in regions [first, last), which count from 0 then."""
        at = (self.region >= first) & (self.region < last)
        return Sites(self.region[at] - np.int32(first), self.start[at], self.reverse[at])


def own_sites(
    motifs: Sequence[Motif], codes: Codes, hit_p: float, sizes: Sizes = SIZES
) -> list[Sites]:
    """Find the sites of each motif in sequences (R, L), a few motifs at a time."""
    found = []
    expected = 2 * hit_p * codes.size * SITE_BYTES
    for first, last in runs(len(motifs), sizes.of_part(expected)):
        hits = find_hits(motifs[first:last], codes, p=hit_p)
        for number in range(last - first):
            own, _ = hits.of_motifs(number, number + 1)
            found.append(
                Sites(own.sequence.astype(np.int32), own.start.astype(np.int32), own.reverse)
            )
    return found


class Words(NamedTuple):
    """Words of one motif, as they stand on the forward strand."""

    codes: Codes
    """(n, w), 0..3."""
    reverse: NDArray[np.bool_]
    """Which of them have the motif on the reverse strand."""


def some_words(motif: Motif, codes: Codes, sites: Sites, seed: Sequence[int]) -> Words:
    """Return some words of a motif's sites; of one without sites, words drawn from the motif."""
    name = int.from_bytes(hashlib.sha256(motif.name.encode()).digest()[:8], "little")
    rng = np.random.default_rng([*seed, name])
    if not len(sites.start):
        return Words(sample(motif, _MOST_WORDS, rng), np.zeros(_MOST_WORDS, bool))
    at = rng.permutation(len(sites.start))[:_MOST_WORDS]
    places = sites.start[at, None] + np.arange(motif.width)
    return Words(codes[sites.region[at, None], places], sites.reverse[at])


class ChanceSites(NamedTuple):
    """Words that lie at random places, n of them."""

    region: NDArray[np.int64]
    """(n,)."""
    start: NDArray[np.int64]
    """(n,)."""
    words: Codes
    """(n, w)."""
    reverse: NDArray[np.bool_]
    """(n,)."""


def lay_words(words: Words, codes: Codes, own: Sites, draws: NDArray[np.float64]) -> ChanceSites:
    """Lay words into regions (R, L), each at a free place.

    As many in a region as there are `draws`, uniform in [0, 1), (R, n); where there are no more
    pairs of a word and a place, each of these once.
    """
    is_free = _free_places(codes, own, words.codes.shape[1])
    region, place = np.nonzero(is_free)
    n_places = is_free.sum(1)
    n_pairs, n_draws = n_places * len(words.codes), draws.shape[1]
    n_taken = np.minimum(n_pairs, n_draws)
    of, number = _rows_and_ranks(n_taken)
    drawn = (draws[of, number] * n_pairs[of]).astype(np.int64)
    word, at = np.divmod(np.where(n_pairs[of] > n_draws, drawn, number), n_places[of])
    chosen = (np.cumsum(n_places) - n_places)[of] + at
    return ChanceSites(region[chosen], place[chosen], words.codes[word], words.reverse[word])


def _rows_and_ranks(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return 0, 0, ..., 1, 1, ... and 0, 1, ..., 0, 1, ...: as many in each row as it counts."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _free_places(codes: Codes, own: Sites, width: int) -> NDArray[np.bool_]:
    """Return where a word may lie, bool (R, L - width + 1): no unknown base, no own site."""
    n_unknown = np.pad(np.cumsum(codes == UNKNOWN, axis=1), ((0, 0), (1, 0)))
    is_known = n_unknown[:, width:] == n_unknown[:, :-width]
    edges = np.zeros((len(codes), is_known.shape[1] + 1), np.int32)
    np.add.at(edges, (own.region, np.maximum(own.start - width + 1, 0)), 1)
    np.add.at(edges, (own.region, np.minimum(own.start + width, is_known.shape[1])), -1)
    is_free = is_known & (np.cumsum(edges, axis=1)[:, :-1] == 0)
    is_crowded = 2 * is_free.sum(1) < is_known.sum(1)
    return np.asarray(np.where(is_crowded[:, None], is_known, is_free))
