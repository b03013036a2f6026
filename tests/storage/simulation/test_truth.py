from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from atlasstore.errors import (
    CorruptStoreError,
    FormatVersionError,
    NotAStoreError,
    UserInputError,
)
from atlasstore.simulation.config import SimulationConfig
from atlasstore.simulation.peaks import Sites
from atlasstore.simulation.truth import Truth, median_depth

TYPES, BATCHES = ["type1", "type2"], ["batch1", "batch2"]


@pytest.fixture
def tiny():
    """Three peaks, two motifs; every number can be followed by hand."""
    sites = Sites(
        np.array([0, 0, 1]),
        np.array([0, 0, 1]),
        np.array([5, 30, 70]),
        np.array([True, False, True]),
    )
    return Truth(
        config=SimulationConfig(n_peaks=10, density=0.3),
        cell_types=TYPES,
        batches=BATCHES,
        motifs=["a", "b"],
        peaks=["chr1:0-50", "chr1:60-90", "chr2:0-10"],
        type_shares=np.array([0.25, 0.75]),
        activities=np.array([[1.0, 0.0], [0.0, 0.5]]),
        batch_activities=np.array([[0.0, 0.0], [0.1, -0.1]]),
        batch_shares=np.array([[0.25, 0.75], [0.25, 0.75]]),
        batch_shifts=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.25]]),
        sites=sites,
        bias_sequence=np.array([0.0, 0.2, 0.0]),
        bias_random=np.array([0.0, 0.0, -0.3]),
        median_depth=3.0,
    )


def test_rates_by_hand(tiny):
    scores = np.array([[2.0, 0.2, -0.3], [0.2, 0.2 + 0.4, -0.3 + 0.25]])
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    found = tiny.rates(TYPES, batches=["batch1", "batch2"])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(tiny.all_rates()[1, 1], expected[1], rtol=1e-12)
    np.testing.assert_allclose(tiny.rates(["type1"])[0], expected[0], rtol=1e-12)


def test_open_probability_picks_cells_and_peaks(tiny):
    cells = ["type2", "type1", "type2"]
    batches = ["batch2", "batch1", "batch1"]
    depths = [2.0, 4.0, 8.0]
    everything = tiny.open_probability(cells, depths, batches=batches)
    for row in range(3):
        rate = depths[row] * tiny.rates([cells[row]], batches=[batches[row]])[0]
        np.testing.assert_allclose(everything[row], 1 - np.exp(-rate), rtol=1e-12)
    some = tiny.open_probability(cells, depths, batches=batches, peaks=["chr2:0-10", "chr1:0-50"])
    np.testing.assert_array_equal(some, everything[:, [2, 0]])
    plain = tiny.open_probability(cells, depths)
    np.testing.assert_allclose(plain[1], everything[1], rtol=1e-12)


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda t: t.rates(["type9"]), "cell type 'type9'"),
        (lambda t: t.rates(["type1"], batches=["b"]), "batch 'b'"),
        (lambda t: t.open_probability(["type1"], [1.0], peaks=["chr3:1-2"]), "peak 'chr3:1-2'"),
    ],
)
def test_unknown_names(tiny, ask, says):
    with pytest.raises(UserInputError, match=says):
        ask(tiny)


@pytest.mark.parametrize("density", [0.001, 0.05, 0.5])
def test_median_depth_meets_the_density(tiny, density):
    truth = replace(tiny, config=replace(tiny.config, density=density))
    depth = median_depth(truth)
    share = sum(
        0.5 * type_share * truth.open_probability([t], [depth], batches=[b]).mean()
        for t, type_share in zip(TYPES, truth.type_shares, strict=True)
        for b in BATCHES
    )
    assert share == pytest.approx(density, rel=1e-9)


def test_save_and_load_give_the_same_to_the_bit(tiny, tmp_path):
    tiny.save(tmp_path)
    again = Truth.load(tmp_path)
    for field in fields(Truth):
        old, new = getattr(tiny, field.name), getattr(again, field.name)
        if field.name == "sites":
            pairs = [(getattr(old, f.name), getattr(new, f.name)) for f in fields(Sites)]
        else:
            pairs = [(old, new)]
        for left, right in pairs:
            np.testing.assert_array_equal(left, right)
            assert getattr(left, "dtype", None) == getattr(right, "dtype", None)


def test_unreadable_truth(tiny, tmp_path):
    with pytest.raises(NotAStoreError, match="does not exist"):
        Truth.load(tmp_path)
    tiny.save(tmp_path)
    path = tmp_path / "truth.json"
    text = path.read_text()
    path.write_text(json.dumps(json.loads(text) | {"format_version": 3}))
    with pytest.raises(FormatVersionError, match="newer"):
        Truth.load(tmp_path)
    path.write_text(text[:100])
    with pytest.raises(CorruptStoreError, match="damaged"):
        Truth.load(tmp_path)


def test_a_truth_of_format_1(tiny, tmp_path):
    """Before batches had shares and shifts of their own: all are alike, and nothing is shifted."""
    tiny.save(tmp_path)
    path = tmp_path / "truth.json"
    content = json.loads(path.read_text()) | {"format_version": 1}
    del content["batch_shares"], content["batch_shifts"]
    for field in ("batch_shift", "batch_shift_share", "batch_mix"):
        del content["config"][field]
    path.write_text(json.dumps(content))
    old = Truth.load(tmp_path)
    assert old.batch_shares.tolist() == [tiny.type_shares.tolist()] * len(tiny.batches)
    assert old.batch_shifts.shape == (len(tiny.batches), len(tiny.peaks))
    assert not old.batch_shifts.any()
    scores = tiny.site_counts() @ (tiny.activities[0] + tiny.batch_activities[1]) + tiny.bias
    rates = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(old.rates(["type1"], batches=["batch2"])[0], rates, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format_version", None),
        ("config", {"n_cells": -1}),
        ("config", {"nonsense": 1}),
        ("peaks", 3),
        ("peaks", [1, 2]),
        ("activities", [[1.0]]),
        ("bias_random", ["a"]),
        ("median_depth", "9" * 5000),
        ("sites", {"peak": [10**6], "motif": [0], "start": [0], "strand": ["+"]}),
        ("sites", {"peak": [-1], "motif": [0], "start": [0], "strand": ["+"]}),
        ("sites", {"peak": [0.5], "motif": [0], "start": [0], "strand": ["+"]}),
        ("sites", {"peak": [0], "motif": [0], "start": [0], "strand": ["?"]}),
        ("sites", {"peak": [0], "motif": [], "start": [0], "strand": ["+"]}),
    ],
)
def test_a_truth_whose_parts_do_not_fit_is_damaged(tiny, tmp_path, name, value):
    tiny.save(tmp_path)
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(CorruptStoreError, match=r"truth.json is damaged \(.*simulate again"):
        Truth.load(tmp_path)


def test_ceiling_equals_sklearn_on_the_true_probabilities(simulated):
    counts, truth = simulated.counts, simulated.truth
    chosen = counts.var_names[40:90][::-1]
    obs, labels = counts.obs, counts[:, chosen].X
    ceiling = truth.ceiling(obs, labels, peaks=list(chosen))
    p = truth.open_probability(
        obs["cell_type"], obs["depth"], batches=obs["batch"], peaks=list(chosen)
    )
    dense = labels.toarray() > 0
    expected = [roc_auc_score(dense[:, j], p[:, j]) for j in range(50)]
    np.testing.assert_allclose(ceiling.auroc_per_peak, expected, rtol=1e-10)
    cells = [i for i in range(600) if 0 < dense[i].sum() < 50]
    expected = [roc_auc_score(dense[i], p[i]) for i in cells]
    np.testing.assert_allclose(ceiling.auroc_per_cell[cells], expected, rtol=1e-10)
    assert np.isnan(np.delete(ceiling.auroc_per_cell, cells)).all()
    np.testing.assert_array_equal(
        truth.ceiling(obs, dense, peaks=list(chosen)).auroc_per_cell, ceiling.auroc_per_cell
    )


def test_the_truth_beats_everything_that_knows_less(simulated):
    counts, truth = simulated.counts, simulated.truth
    ceiling = truth.ceiling(counts.obs, counts.X)
    assert 0.75 < ceiling.mean_per_cell < 0.88
    assert 0.65 < ceiling.mean_per_peak < 0.80
    for poorer in (
        replace(truth, bias_random=np.zeros_like(truth.bias_random)),
        replace(truth, activities=np.zeros_like(truth.activities)),
        replace(truth, batch_activities=np.zeros_like(truth.batch_activities)),
    ):
        assert poorer.ceiling(counts.obs, counts.X).mean_per_cell < ceiling.mean_per_cell
