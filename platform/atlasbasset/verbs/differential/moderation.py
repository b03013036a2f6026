"""Variances of few draws each, held towards one another.

Source: docs/differential.md, "The test of a motif"; Smyth (2004), an inverse gamma prior on the
variances of many alike samples, fitted to the logarithms of what was found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Moderated", "moderate"]

_MOST_FREEDOM = 1e6
_LEAST_VARIANCE = 1e-300


class Moderated(NamedTuple):
    """Variances that are held towards the prior."""

    variance: NDArray[np.float64]
    """(M,)."""
    freedom: NDArray[np.float64]
    """(M,): degrees of freedom of each, the prior's included."""


def moderate(variance: NDArray[np.float64], freedom: NDArray[np.float64]) -> Moderated:
    """Hold variances towards a prior that is fitted to all of them.

    Parameters
    ----------
    variance, freedom
        (M,): of each sample, and its degrees of freedom. Fewer than three samples tell nothing of
        a prior, and stay as they are.
    """
    if len(variance) < 3:
        return Moderated(variance, freedom)
    log = np.log(np.maximum(variance, _LEAST_VARIANCE))
    log -= digamma(freedom / 2) - np.log(freedom / 2)
    spread = log.var(ddof=1) - polygamma(1, freedom / 2).mean()
    if spread <= 0:  # no more than chance makes: all are one variance
        prior, own = _MOST_FREEDOM, np.exp(log.mean())
    else:
        prior = min(2 * _inverse_trigamma(spread), _MOST_FREEDOM)
        own = np.exp(log.mean() + digamma(prior / 2) - np.log(prior / 2))
    total = freedom + prior
    return Moderated((prior * own + freedom * variance) / total, total)


def _inverse_trigamma(value: float) -> float:
    """Return x > 0 with trigamma(x) = value; trigamma lies between 1 / x^2 and 1 / (x - 1)."""
    low, high = 1 / (value + 2) / 2, 1 / value + 1
    return float(brentq(lambda x: polygamma(1, x) - value, low, high))
