"""Penalised logistic regression: against a general optimiser, and the p-values of chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import chi2, kstest

from atlasbasset.verbs.differential.binomial import fit_binomial, penalised_test


def bins(rng: np.random.Generator, n_bins: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of cells, and covariates: 1, a depth that differs between groups, group."""
    side = np.arange(n_bins) % 2
    depth = rng.normal(0.4 * side, 0.5)
    return rng.integers(5, 30, n_bins).astype(float), np.stack(
        [np.ones(n_bins), depth - depth.mean(), side], axis=1
    )


def objective(beta: np.ndarray, n_open: np.ndarray, n_cells: np.ndarray, x: np.ndarray) -> float:
    logit = x @ beta
    weight = n_cells * expit(logit) * (1 - expit(logit))
    penalty = np.linalg.slogdet((x * weight[:, None]).T @ x)[1] / 2
    return -float((n_open * logit - n_cells * np.logaddexp(0, logit)).sum() + penalty)


@pytest.mark.parametrize("share", [0.3, 0.03])
def test_the_fit_and_its_ratio_are_those_of_a_general_optimiser(share) -> None:
    rng = np.random.default_rng(3)
    n_cells, x = bins(rng)
    n_open = rng.binomial(n_cells.astype(int), share).astype(float)
    found = penalised_test(n_open[None], n_cells, x, null=0.2)
    best = minimize(objective, np.array([-1.0, 0, 0]), (n_open, n_cells, x), tol=1e-12)
    held = minimize(
        lambda free: objective(np.append(free, 0.2), n_open, n_cells, x),
        np.array([-1.0, 0]),
        tol=1e-12,
    )
    assert found.effect[0] == pytest.approx(best.x[-1], abs=2e-3)
    assert found.p[0] == pytest.approx(chi2.sf(2 * (held.fun - best.fun), 1), abs=2e-3)


def test_a_group_without_an_open_cell_has_a_finite_effect_and_a_small_p() -> None:
    n_cells, x = np.full(8, 20.0), np.stack([np.ones(8), np.arange(8) % 2], axis=1)
    n_open = np.where(np.arange(8) % 2, 6.0, 0.0)[None]
    found = penalised_test(n_open, n_cells, x)
    assert 2 < found.effect[0] < 8
    assert np.isfinite(found.standard_error[0])
    assert found.p[0] < 1e-6


@pytest.mark.parametrize(("n_group", "n_reference", "share"), [(300, 300, 0.1), (40, 800, 0.1)])
def test_p_values_of_peaks_that_do_not_differ_are_uniform(n_group, n_reference, share) -> None:
    """Depths differ between the groups twofold; labels come from rates, not from logits."""
    rng = np.random.default_rng(5)
    side = np.repeat([1, 0], [n_group, n_reference])
    depth = np.exp(rng.normal(0.7 * side, 0.5))
    rate = share * np.exp(rng.normal(0, 0.7, 1500))
    is_open = rng.random((1500, len(side))) < -np.expm1(-rate[:, None] * depth)
    mean_share = is_open.mean(axis=0)
    logit = np.log(mean_share / (1 - mean_share))
    x = np.stack([np.ones(len(side)), logit - logit.mean(), side], axis=1)
    kept = is_open.sum(axis=1) >= 20
    p = penalised_test(is_open[kept].astype(float), np.ones(len(side)), x).p
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.03 < (p < 0.05).mean() < 0.07


def test_a_held_coefficient_stays() -> None:
    rng = np.random.default_rng(1)
    n_cells, x = bins(rng)
    n_open = rng.binomial(n_cells.astype(int), 0.2, (5, len(n_cells))).astype(float)
    assert (fit_binomial(n_open, n_cells, x, held=0.7).beta[:, -1] == 0.7).all()
