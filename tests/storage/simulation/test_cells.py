from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chisquare

from atlasstore.simulation.cells import BLOCK_CELLS, CountSampler, cell_table


def with_config(truth, **changes):
    return replace(truth, config=replace(truth.config, **changes))


def test_cell_table_follows_shares_and_depth(simulated):
    truth = with_config(simulated.truth, n_cells=40_000)
    obs = cell_table(truth)
    assert obs.index.is_unique
    assert obs.index[0] == "cell00001"
    counts = obs["cell_type"].value_counts().reindex(truth.cell_types)
    assert chisquare(counts, truth.type_shares * 40_000).pvalue > 1e-3
    assert chisquare(obs["batch"].value_counts()).pvalue > 1e-3
    logs = np.log(obs["depth"])
    assert logs.mean() == pytest.approx(np.log(truth.median_depth), abs=5 * 0.5 / 200)
    assert logs.std() == pytest.approx(0.5, rel=0.02)


def test_depth_sd_of_zero(simulated):
    obs = cell_table(with_config(simulated.truth, depth_sd=0.0))
    np.testing.assert_array_equal(obs["depth"], simulated.truth.median_depth)


def same_cells(truth, n_cells, depth):
    """`n_cells` cells of one type and batch at one depth."""
    columns = {
        "cell_type": pd.Categorical(["type2"] * n_cells, categories=truth.cell_types),
        "batch": pd.Categorical(["batch2"] * n_cells, categories=truth.batches),
        "depth": np.full(n_cells, depth),
    }
    return pd.DataFrame(columns)


def test_counts_are_poisson_with_the_true_rates(simulated):
    truth, n_cells, depth = simulated.truth, 3 * BLOCK_CELLS, 2000.0
    sampler = CountSampler(truth, same_cells(truth, n_cells, depth))
    counts = np.concatenate([sampler.block(i).toarray() for i in range(sampler.n_blocks)])
    rate = depth * truth.rates(["type2"], batches=["batch2"])[0]
    z = (counts.mean(axis=0) - rate) / np.sqrt(rate / n_cells)
    assert np.abs(z).max() < 5
    assert z.std() == pytest.approx(1, abs=0.08)
    assert z.mean() == pytest.approx(0, abs=5 / np.sqrt(z.size))
    dispersion = (counts.var(axis=0, ddof=1) / rate).mean()
    assert dispersion == pytest.approx(1, abs=0.01)
    is_open = 1 - np.exp(-rate)
    varies = (is_open > 0.01) & (is_open < 0.99)
    error = ((counts > 0).mean(axis=0) - is_open)[varies]
    z_open = error / np.sqrt(is_open * (1 - is_open) / n_cells)[varies]
    assert varies.sum() > 1000
    assert np.abs(z_open).max() < 5
    pair = np.corrcoef(counts[:, np.argsort(rate)[-2:]].T)[0, 1]
    assert abs(pair) < 5 / np.sqrt(n_cells)


def test_blocks_are_canonical_and_do_not_depend_on_their_order(simulated):
    truth = with_config(simulated.truth, n_cells=2 * BLOCK_CELLS + 7)
    obs = cell_table(truth)
    sampler = CountSampler(truth, obs)
    shapes = []
    for index in reversed(range(sampler.n_blocks)):
        block = sampler.block(index)
        assert block.has_canonical_format
        assert block.data.min() >= 1
        assert block.data.dtype == np.int32
        shapes.append(block.shape)
        again = CountSampler(truth, obs).block(index)
        assert (block != again).nnz == 0
    assert shapes == [(7, 1500), (BLOCK_CELLS, 1500), (BLOCK_CELLS, 1500)]


def test_cells_without_fragments(simulated):
    block = CountSampler(simulated.truth, same_cells(simulated.truth, 5, 0.0)).block(0)
    assert block.shape == (5, 1500)
    assert block.nnz == 0
    assert block.indptr.tolist() == [0] * 6


def test_batches_have_their_own_shares_of_the_types(tmp_path):
    from atlasstore.simulation import Truth, simulate

    dials = {"n_cells": 3000, "n_peaks": 20, "n_cell_types": 3, "n_batches": 2, "seed": 4}
    simulate(tmp_path / "mixed", **dials, batch_mix=0.5)
    simulate(tmp_path / "alike", **dials)
    mixed, alike = (Truth.load(tmp_path / name) for name in ("mixed", "alike"))
    obs, other = cell_table(mixed), cell_table(alike)
    found = pd.crosstab(obs["batch"], obs["cell_type"], normalize="index")
    np.testing.assert_allclose(found, mixed.batch_shares, atol=0.05)
    assert np.abs(mixed.batch_shares[0] - mixed.batch_shares[1]).max() > 0.1
    assert obs["batch"].equals(other["batch"])  # nothing else changes
    np.testing.assert_array_equal(alike.batch_shares, [alike.type_shares] * 2)
