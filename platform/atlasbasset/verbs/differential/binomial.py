"""Logistic regression of many peaks at once on the same bins of cells, with Firth's penalty.

Source: docs/differential.md, "The test of a peak".

The penalty (Firth 1993), half the log determinant of the information, keeps estimates finite where
a group has no open cell, and removes their first-order bias. A coefficient is tested by the
penalised likelihood ratio (Heinze and Schemper 2002): both fits carry the penalty of all
coefficients, the null one with the tested coefficient held fixed.

Shape letters: P peaks, B bins, F coefficients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import chi2

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BinomialTest", "fit_binomial", "penalised_test"]

_MAX_STEP = 2.0
"""Largest change of a coefficient in a step; log odds."""
_MAX_STEPS = 50
_TOLERANCE = 1e-4
"""Change of every coefficient below which a peak's fit has converged."""


class BinomialTest(NamedTuple):
    """The test of one coefficient, float64 (P,) each."""

    effect: NDArray[np.float64]
    """Estimate, log odds."""
    standard_error: NDArray[np.float64]
    p: NDArray[np.float64]
    """Two-sided, of the null value."""


class _Fit(NamedTuple):
    beta: NDArray[np.float64]
    """(P, F)."""
    covariance: NDArray[np.float64]
    """(P, F, F)."""
    value: NDArray[np.float64]
    """(P,): penalised log likelihood, up to a constant of the data."""


def penalised_test(
    n_open: NDArray[np.float64],
    n_cells: NDArray[np.float64],
    design: NDArray[np.float64],
    *,
    null: float = 0.0,
) -> BinomialTest:
    """Test the last coefficient of each peak's logistic regression.

    Parameters
    ----------
    n_open
        (P, B): open cells of each bin.
    n_cells
        (B,): cells of each bin, above 0.
    design
        (B, F): covariates of a bin, of full rank; the first is 1.
    null
        Value of the last coefficient under the null hypothesis.
    """
    full = fit_binomial(n_open, n_cells, design)
    held = fit_binomial(n_open, n_cells, design, held=null)
    ratio = np.maximum(2 * (full.value - held.value), 0)
    error = np.sqrt(full.covariance[:, -1, -1])
    return BinomialTest(full.beta[:, -1], error, chi2.sf(ratio, 1))


def fit_binomial(
    n_open: NDArray[np.float64],
    n_cells: NDArray[np.float64],
    design: NDArray[np.float64],
    *,
    held: float | None = None,
) -> _Fit:
    """Maximise each peak's penalised likelihood by Newton steps on the modified score.

    Parameters
    ----------
    held
        Value at which the last coefficient is held; it is fitted by default.
    """
    n_peaks, n_coefficients = len(n_open), design.shape[1]
    n_free = n_coefficients - (held is not None)
    beta = np.zeros((n_peaks, n_coefficients))
    share = (n_open.sum(axis=1) + 0.5) / (n_cells.sum() + 1)
    beta[:, 0] = np.log(share / (1 - share))
    beta[:, -1] = 0.0 if held is None else held
    active = np.arange(n_peaks)
    for _ in range(_MAX_STEPS):
        step = _step(beta[active], n_open[active], n_cells, design, n_free)
        beta[active, :n_free] += step
        active = active[np.abs(step).max(axis=1) > _TOLERANCE]
        if not active.size:
            break
    return _evaluated(beta, n_open, n_cells, design)


def _step(
    beta: NDArray[np.float64],
    n_open: NDArray[np.float64],
    n_cells: NDArray[np.float64],
    design: NDArray[np.float64],
    n_free: int,
) -> NDArray[np.float64]:
    """Return the bounded Newton step of the free coefficients, (P, n_free)."""
    mean = expit(beta @ design.T)
    weight = n_cells * mean * (1 - mean)
    information, pairs = _information(weight, design)
    covariance = np.linalg.inv(information)
    leverage = weight * (covariance.reshape(len(beta), -1) @ pairs.T)
    score = (n_open - n_cells * mean + leverage * (0.5 - mean)) @ design[:, :n_free]
    if n_free < design.shape[1]:
        covariance = np.linalg.inv(information[:, :n_free, :n_free])
    step = (covariance @ score[:, :, None])[:, :, 0]
    largest = np.abs(step).max(axis=1, keepdims=True)
    return np.asarray(step * np.minimum(1, _MAX_STEP / np.maximum(largest, _TOLERANCE)))


def _information(
    weight: NDArray[np.float64], design: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return X' W X of each peak (P, F, F), and the products of covariates (B, F F)."""
    n_bins, n_coefficients = design.shape
    pairs = (design[:, :, None] * design[:, None, :]).reshape(n_bins, -1)
    return (weight @ pairs).reshape(len(weight), n_coefficients, n_coefficients), pairs


def _evaluated(
    beta: NDArray[np.float64],
    n_open: NDArray[np.float64],
    n_cells: NDArray[np.float64],
    design: NDArray[np.float64],
) -> _Fit:
    logit = beta @ design.T
    mean = expit(logit)
    information, _ = _information(n_cells * mean * (1 - mean), design)
    likelihood = (n_open * logit - n_cells * np.logaddexp(0, logit)).sum(axis=1)
    penalty = np.linalg.slogdet(information)[1] / 2
    covariance = np.asarray(np.linalg.inv(information), np.float64)
    return _Fit(beta, covariance, likelihood + penalty)
