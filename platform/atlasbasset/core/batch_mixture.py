"""What a batch adds to its cells, given the states they are in: a mixture model, fitted by EM.

A cell c of batch b in state k stands at ``x_c = m_k + v_b + u_bk + noise``:

* ``m_k`` is the state's place, the same in all batches;
* ``v_b ~ N(0, T^2)`` is the batch's effect, the same in all states: what is wanted;
* ``u_bk ~ N(0, W^2)`` is what the batch does to this state alone;
* the noise is ``N(0, S^2)``, the same in every direction.

How common a state is in a batch, ``P(k | b)``, is free. So a batch that merely has other shares of
the states needs no effect: shares explain it. All variances are estimated (empirical Bayes): an
effect that the data do not show is drawn to zero.

EM needs sums over cells only (`Sums`), so it runs over any number of workers. Everything is
float64 and numpy. docs/batch-effects.md derives it and shows what it does.

Shape letters: N cells, n cells of one batch, B batches, K states, E coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Mixture", "Sums"]

_STATE_PRICE = 2
"""Times the Bayesian information criterion's price: see `Mixture.evidence`."""
_TINY = 1e-12
_LOOSE = 100.0
"""Variance of effects to begin with, times the noise's."""
_FIRST_DEVIATION = 0.1
"""Variance of deviations to begin with, times the noise's."""
_LEAST_HOLD = 1e-9
"""Of effects towards zero, relative: what all have in common could as well be in the states."""


class Sums(NamedTuple):
    """What EM needs of the cells: all of it adds up over cells."""

    counts: Floats
    """(B, K) expected cells of each batch in each state."""
    places: Floats
    """(B, K, E) sum of their coordinates."""
    squares: Floats
    """() sum of all squared coordinates."""
    log_likelihood: Floats
    """() of the coordinates, nats."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """The model's values."""

    states: Floats
    """(K, E) ``m``."""
    effects: Floats
    """(B, E) ``v``."""
    deviations: Floats
    """(B, K, E) ``u``."""
    log_shares: Floats
    """(B, K) ``log P(k | b)``."""
    noise: float
    """S^2, of one coordinate."""
    deviation_variance: float
    """W^2."""
    effect_variance: float
    """T^2."""

    @classmethod
    def start(cls, states: Floats, effects: Floats, *, noise: float) -> Mixture:
        """Return a model with states and effects given, all states equally common, no deviations.

        Effects are held loosely: what they need not be, EM draws to zero.
        """
        shape = len(effects), *states.shape
        return cls(
            states=states,
            effects=effects,
            deviations=np.zeros(shape),
            log_shares=np.full(shape[:2], -np.log(len(states))),
            noise=noise,
            deviation_variance=0.0,
            effect_variance=_LOOSE * noise,
        )

    def sums(self, cells: Iterable[tuple[int, Floats]]) -> Sums:
        """Return the sums over `cells`: batches, each with coordinates (n, E) of some cells."""
        counts, places = np.zeros(self.log_shares.shape), np.zeros(self.deviations.shape)
        squares, log_likelihood = np.zeros(()), np.zeros(())
        for batch, x in cells:
            found, total = self._responsibilities(batch, x)
            counts[batch] += found.sum(0)
            places[batch] += found.T @ x
            squares += np.square(x).sum()
            log_likelihood += total
        return Sums(counts, places, squares, log_likelihood)

    def _responsibilities(self, batch: int, x: Floats) -> tuple[Floats, float]:
        """Return P(state | cell), (n, K), and the cells' log likelihood."""
        centres = self._centres()[batch]
        squares = np.square(x).sum(1)[:, None] + np.square(centres).sum(1)
        log = self.log_shares[batch] - (squares - 2 * x @ centres.T) / (2 * self.noise)
        most = log.max(1, keepdims=True)
        found = np.exp(log - most)
        total = found.sum(1, keepdims=True)
        norm = x.size / 2 * np.log(2 * np.pi * self.noise)
        return found / total, float((most + np.log(total)).sum() - norm)

    def _centres(self) -> Floats:
        """(B, K, E)."""
        return self.states + self.effects[:, None] + self.deviations

    def _precision(self, counts: Floats) -> Floats:
        """Return what a batch's cells in a state tell of ``m_k + v_b``, (B, K)."""
        return counts / (self.noise + self.deviation_variance * counts)

    def with_deviations(self) -> Mixture:
        """Return the model with deviations let in: they stay at zero until then.

        Let in at once they would take up what is common to all states of a batch.
        """
        return replace(self, deviation_variance=_FIRST_DEVIATION * self.noise)

    def updated(self, sums: Sums, *, pull: float = 0.0) -> Mixture:
        """Return the model after one M step.

        Parameters
        ----------
        pull
            Cells of a batch's own that speak for no effect: the penalty on batch rows.
        """
        counts = sums.counts
        means = sums.places / np.maximum(counts, _TINY)[:, :, None]
        precision = self._precision(counts)
        held = 1 / self.effect_variance + pull / self.noise
        effects, states = _two_way(means, precision, held)
        left = means - states - effects[:, None]
        shrink = self.deviation_variance * counts / (self.deviation_variance * counts + self.noise)
        deviations = shrink[:, :, None] * left
        centres = states + effects[:, None] + deviations
        explained = 2 * (sums.places * centres).sum() - (counts * np.square(centres).sum(2)).sum()
        seen = counts > 0.5
        spread = np.square(deviations).mean(2) + self.deviation_variance * (1 - shrink)
        least = _TINY * self.noise
        effect_spread = np.square(effects).mean(1) + 1 / (precision.sum(1) + held)
        noise = float(sums.squares - explained) / (counts.sum() * states.shape[1])
        return replace(
            self,
            states=states,
            effects=effects,
            deviations=deviations,
            log_shares=_log_shares(counts),
            noise=max(noise, _TINY),
            deviation_variance=float(spread[seen].mean()),
            effect_variance=max(float(effect_spread.mean()), least),
        )

    def evidence(self, sums: Sums) -> float:
        """Return how good an account of the cells this is, nats: more states must earn their price.

        The log likelihood, less what its values cost: effects, deviations and shares by Laplace's
        approximation under their priors, the states by the Bayesian information criterion, twice.
        Twice, because one state too many may split a state by batch, and then says nothing of the
        batch's effect, while one too few still does.
        """
        counts, (n_states, dim) = sums.counts, self.states.shape
        deviations = np.square(self.deviations).sum() / max(self.deviation_variance, _TINY)
        deviations += dim * np.log1p(self.deviation_variance * counts / self.noise).sum()
        effects = np.square(self.effects).sum() / self.effect_variance
        effects += dim * np.log1p(self.effect_variance * self._precision(counts).sum(1)).sum()
        shares = (n_states - 1) * np.log1p(counts.sum(1) / n_states).sum()
        states = _STATE_PRICE * n_states * dim * np.log(counts.sum())
        return float(sums.log_likelihood - (deviations + effects + shares + states) / 2)

    def merged(self, counts: Floats, n_joined: int) -> Mixture:
        """Return the model with `n_joined` states fewer: joined where that adds least variance."""
        states, sizes = self.states, counts.sum(0) + _TINY
        for _ in range(n_joined):
            states, sizes = _with_two_joined(states, sizes)
        return Mixture.start(states, self.effects, noise=self.noise)


def _with_two_joined(states: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Join the two states that are nearest in Ward's sense; return the states and their cells."""
    apart = np.square(states[:, None] - states).sum(2)
    cost = apart * sizes[:, None] * sizes / (sizes[:, None] + sizes)
    cost[np.tril_indices(len(cost))] = np.inf
    pair = list(np.unravel_index(np.argmin(cost), cost.shape))
    joined = np.average(states[pair], axis=0, weights=sizes[pair])
    states = np.vstack([np.delete(states, pair, axis=0), joined])
    return states, np.append(np.delete(sizes, pair), sizes[pair].sum())


def _two_way(means: Floats, precision: Floats, held: float) -> tuple[Floats, Floats]:
    """Return effects (B, E) and states (K, E) that fit the means of batches in states best.

    They minimise ``sum precision |mean - state - effect|^2 + held sum |effect|^2``: the states are
    eliminated, what is left is one system of B equations.
    """
    total = np.maximum(precision.sum(0), _TINY)
    held = max(held, _LEAST_HOLD * float(precision.sum(1).max()))
    weighted = precision[:, :, None] * means
    matrix = np.diag(precision.sum(1) + held) - (precision / total) @ precision.T
    right = weighted.sum(1) - precision @ (weighted.sum(0) / total[:, None])
    effects = np.linalg.solve(matrix, right)
    states = (weighted.sum(0) - precision.T @ effects) / total[:, None]
    return effects, states


def _log_shares(counts: Floats) -> Floats:
    """Return each batch's shares of the states, with one cell a state from the shares of all."""
    n_states = counts.shape[1]
    overall = counts.sum(0) / counts.sum()
    shares = (counts + n_states * overall) / (counts.sum(1, keepdims=True) + n_states)
    return np.asarray(np.log(np.maximum(shares, _TINY)))
