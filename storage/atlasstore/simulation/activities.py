"""What each cell type's TFs do, what a batch changes, and what a peak is worth by itself.

Of the M motifs about a sixth are shared (the same positive activity in every type), a sixth are
silent (activity 0, decoys that a good model must not use), and the rest are dealt out: each type
is given 3 in 16 of them, in turn from a shuffled deck, so that every motif serves about equally
many types and types that share one TF differ in others. One site of motif m multiplies the rate
of its peak by exp(activity[m]).

Activities are uniform in 0.75..1.25 times a scale, and the scale is set so that each kind of TF
gives the log rates about a fixed standard deviation over the peaks, however many motifs there
are. A peak has Poisson(mu) sites, and each is of its leading motif with probability q; so its
number of sites of k among M motifs, x = k / M, has variance ``mu x + (mu q)^2 x (1 - x)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from atlasstore.simulation.peaks import LEADING_SHARE, MEAN_SITES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BIAS_RANDOM_SD",
    "BIAS_SEQUENCE_SD",
    "batch_activities",
    "batch_shares",
    "batch_shifts",
    "cell_type_activities",
    "sequence_bias",
    "type_shares",
]

OWN_SD = 0.85
"""Sd over peaks of the part of the log rate that a type's own TFs make."""
SHARED_SD = 0.4
"""Sd over peaks of the part that the shared TFs make."""
BIAS_SEQUENCE_SD = 0.4
"""Sd over peaks of the part of the log rate that follows from the window's GC content."""
BIAS_RANDOM_SD = 0.3
"""Sd over peaks of the part of the log rate that no sequence model can know."""

_OWN_SHARE = 3 / 16
_TYPE_SHARE_CONCENTRATION = 100.0
_SPREAD = (0.75, 1.25)


def cell_type_activities(
    n_cell_types: int, n_motifs: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the activities, float64, shape (n_cell_types, n_motifs)."""
    order = rng.permutation(n_motifs)
    n_side = n_motifs // 6
    shared, own = order[:n_side], order[2 * n_side :]
    activities = np.zeros((n_cell_types, n_motifs))
    activities[:, shared] = _draw(n_side, n_motifs, SHARED_SD, rng)
    n_each = max(1, round(own.size * _OWN_SHARE))
    for cell_type, motifs in enumerate(_deal(own, n_cell_types, n_each, rng)):
        activities[cell_type, motifs] = _draw(n_each, n_motifs, OWN_SD, rng)
    return activities


def type_shares(
    n_cell_types: int, n_rare: int, rare_share: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw each type's share of the cells, float64, shape (n_cell_types,).

    Dirichlet, such that they differ by about a tenth; the last `n_rare` have `rare_share` each.
    """
    shares = rng.dirichlet(np.full(n_cell_types, _TYPE_SHARE_CONCENTRATION))
    if n_rare:
        shares[-n_rare:] = rare_share
        shares[:-n_rare] *= (1 - n_rare * rare_share) / shares[:-n_rare].sum()
    return np.asarray(shares)


def batch_activities(
    n_batches: int, n_motifs: int, effect: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw what each batch adds to every TF's activity, float64, shape (n_batches, n_motifs).

    Normal, such that a batch moves the log rates by an sd over the peaks of about `effect`. All 0
    where there is one batch.
    """
    if n_batches == 1:
        return np.zeros((1, n_motifs))
    sd = effect / np.sqrt(n_motifs * _site_variance(1 / n_motifs))
    return np.asarray(sd * rng.normal(size=(n_batches, n_motifs)))


def batch_shifts(
    n_batches: int, n_peaks: int, shift: float, share: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw what each batch adds to the peaks' log rates, float64, shape (n_batches, n_peaks).

    `shift` or its opposite at this share of the peaks, 0 elsewhere; all 0 where there is one batch.
    """
    if n_batches == 1 or not shift:
        return np.zeros((n_batches, n_peaks))
    size = n_batches, n_peaks
    own = rng.random(size) < share
    return np.asarray(np.where(own, rng.choice([-shift, shift], size=size), 0.0))


def batch_shares(
    type_shares: NDArray[np.float64], n_batches: int, mix: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw each batch's shares of the types, float64, shape (n_batches, n_cell_types).

    Dirichlet around `type_shares`, with ``(1 - mix) / mix`` for each type in all; `type_shares`
    themselves where `mix` is 0.
    """
    if not mix:
        return np.tile(type_shares, (n_batches, 1))
    drawn = rng.dirichlet(type_shares * type_shares.size * (1 - mix) / mix, size=n_batches)
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def _draw(n_active: int, n_motifs: int, sd: float, rng: np.random.Generator) -> NDArray[np.float64]:
    scale = sd / np.sqrt(_site_variance(max(n_active, 1) / n_motifs))
    return np.asarray(scale * rng.uniform(*_SPREAD, size=n_active))


def _site_variance(share: float) -> float:
    """Return the variance over peaks of the number of sites of this share of the motifs."""
    return MEAN_SITES * share + (MEAN_SITES * LEADING_SHARE) ** 2 * share * (1 - share)


def _deal(
    cards: NDArray[np.int64], n_hands: int, n_each: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal hands without a repeat inside a hand, reshuffling whenever the deck runs out."""
    hands = []
    deck = rng.permutation(cards)
    for _ in range(n_hands):
        hand, deck = deck[:n_each], deck[n_each:]
        if hand.size < n_each:
            fresh = rng.permutation(np.setdiff1d(cards, hand))
            missing = n_each - hand.size
            deck = rng.permutation(np.setdiff1d(cards, fresh[:missing]))
            hand = np.concatenate([hand, fresh[:missing]])
        hands.append(hand)
    return hands


def sequence_bias(gc: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the learnable part of each peak's bias: GC content, standardised over the peaks."""
    return np.asarray(BIAS_SEQUENCE_SD * (gc - gc.mean()) / gc.std())
