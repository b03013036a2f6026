"""Peaks and cells solved in turn at the end of training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import atlasbasset
from atlasbasset.core.peak_deviations import fit_readout, solve_peaks
from atlasbasset.core.runtime import LocalRuntime
from atlasbasset.engine.build_learner import new_learner
from atlasbasset.engine.config import TrainConfig
from atlasbasset.engine.embed_shared import embed_shared
from atlasbasset.engine.events import PeaksSolved
from atlasbasset.engine.labels.host import WorkerData
from atlasbasset.engine.peak_deviations import DeviationSettings, deviate
from atlasbasset.engine.solving import solve_layer
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas
from tiny import WINDOW, atlas, config

CPU = LocalRuntime(torch.device("cpu"))
L2, WEIGHT = 3.0, 2.0


@pytest.fixture(scope="module")
def atlas_url(tmp_path_factory):
    return atlas(
        tmp_path_factory.mktemp("atlas") / "a.zarr", n_cells=120, n_peaks=200, min_blocks=16
    )


@pytest.fixture(params=[None, "sample"])
def worker(request, atlas_url, tmp_path):
    opened = Atlas.open(atlas_url)
    settings = config(batch_key=request.param)
    store = begun_store(opened, str(tmp_path / "m"), settings)
    data = WorkerData(opened, range(len(opened.blocks)))
    learner = new_learner(settings, data, store, n_cells=opened.n_cells, device=CPU.device)
    learner.trunk.eval()
    return learner, data, opened


def test_a_round_is_all_peaks_the_readout_and_all_cells(worker):
    """Against dense labels: peaks given the cells before, the cells' gradient vanishing after."""
    learner, data, opened = worker
    peaks = opened.peak_rows("train")
    labels = torch.from_numpy(opened.to_anndata().X.toarray()[:, peaks].astype(float)).T
    h = embed_shared(learner, data.codes, peaks, CPU)
    solve_layer(learner, data, peaks, CPU, l2=L2, h=h)
    w, b = (t.double() for t in learner.cells.table().tile(slice(None)))
    sums = torch.cat([labels @ w, labels.sum(1, keepdim=True)], 1)
    found = deviate(learner, data, peaks, h, CPU, DeviationSettings(L2, 1, WEIGHT))
    wide = {"dtype": torch.float64, "tolerance": 1e-10}
    expected = solve_peaks(w, b, sums, h / 2, l2=2 * WEIGHT, **wide).embedding
    said = fit_readout(h, expected).of(h.double())
    torch.testing.assert_close(found.said.of(h.double()), said, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.deviation.double(), expected - said, rtol=0, atol=1e-4)
    left = (expected - said).var(0).sum() / expected.var(0).sum()
    assert found.explained == pytest.approx(1 - float(left), abs=1e-4)
    assert found.deviation.norm(dim=1).min() > 0
    x = found.said.of(h.double()) + found.deviation.double()
    w, b = (t.double().requires_grad_() for t in learner.cells.table().tile(slice(None)))
    bce = torch.nn.functional.binary_cross_entropy_with_logits(x @ w.T + b, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(bce, b)
    assert gradient.abs().max() < 2e-3 * labels.sum(0).max()
    assert found.solved.n_converged == opened.n_cells


@pytest.mark.parametrize("worker", [None], indirect=True)
def test_rounds_descend_to_one_objective(worker):
    """Peaks, readout and cells in turn minimise one function of all three."""
    learner, data, opened = worker
    peaks = opened.peak_rows("train")
    labels = torch.from_numpy(opened.to_anndata().X.toarray()[:, peaks].astype(float)).T
    h = embed_shared(learner, data.codes, peaks, CPU)
    values = []
    for rounds in (1, 2, 4, 8):
        solve_layer(learner, data, peaks, CPU, l2=L2, h=h)
        found = deviate(learner, data, peaks, h, CPU, DeviationSettings(L2, rounds, WEIGHT))
        w, b = (t.double() for t in learner.cells.table().tile(slice(None)))
        x = found.said.of(h).double() + found.deviation.double()
        held = L2 * w.square().sum() + WEIGHT * (x.square() + found.deviation**2).sum()
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        values.append(float(bce(x @ w.T + b, labels, reduction="sum") + held / 2))
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 1e-3 * values[-1]


def test_training_with_deviations(atlas_url, tmp_path):
    """Other peaks than training's stay at their sequences; new cells see what old ones saw."""
    events: list[object] = []
    settings = config(epochs=2, final_solve=True, peak_deviations=True)
    report = atlasbasset.train(
        atlas_url, out=tmp_path / "m", config=settings, on_event=events.append
    )
    (told,) = (event for event in events if isinstance(event, PeaksSolved))
    chosen = report.final_solve["peak_deviations"]
    assert told.record["weight"] == chosen["weight"] is not None
    assert f"weight {chosen['weight']:.4g}" in told.shown().message
    without, held, deviating = chosen["tried"]
    assert deviating["loss"] < min(without["loss"], held["loss"])
    for name in ("l2_cells", "weight", "rounds"):
        assert deviating[name] == chosen[name]
    for plain, l2 in ((without, 10.0), (held, 30.0)):
        assert (plain["l2_cells"], plain["weight"], plain["rounds"]) == (l2, None, 0)
    assert json.loads(json.dumps(report.as_json()))["final_solve"]["peak_deviations"] == chosen
    assert 0 < chosen["explained"] < 1
    assert f"explain {chosen['explained']:.0%}" in told.shown().message
    train = Atlas.open(atlas_url).peak_rows("train")
    deviation = ModelStore.open(tmp_path / "m").newest().tensors("peaks")["deviation"]
    assert np.abs(deviation[train]).min(axis=0).max() > 0
    assert not np.delete(deviation, train, axis=0).any()
    found = atlasbasset.map_cells(
        tmp_path / "m", atlas_url, out=tmp_path / "mapped", compute="fp32"
    )
    assert found.l2 == chosen["l2_cells"] == 30.0
    model, mapped = (atlasbasset.load_model(tmp_path / name) for name in ("m", "mapped"))
    np.testing.assert_allclose(mapped.cell_embedding, model.cell_embedding, atol=2e-3)
    np.testing.assert_array_equal(mapped.deviations.deviation, model.deviations.deviation)


def test_a_finished_run_goes_on_through_its_readout(atlas_url, tmp_path):
    """Its readout stays while it trains, in the average too, and the next one follows it."""
    maps = []
    for epochs in (1, 2):
        settings = config(
            epochs=epochs, final_solve=True, peak_deviations=True, peak_l2=3.0, average=0.9
        )
        report = atlasbasset.train(atlas_url, out=tmp_path / "m", config=settings)
        newest = ModelStore.open(tmp_path / "m").newest()
        maps.append(newest.tensors("trunk")["bottleneck.readout_weight"])
        average = newest.tensors("average")["module.bottleneck.readout_weight"]
        np.testing.assert_array_equal(average, maps[-1])
    assert len(report.history) == 2
    assert np.abs(maps[1] - maps[0]).max() > 1e-3


def test_a_weight_that_is_given_is_taken(tmp_path):
    url = atlas(tmp_path / "a.zarr", n_cells=40, n_peaks=120)
    settings = config(epochs=1, final_solve=True, peak_deviations=True, peak_l2=1e12)
    report = atlasbasset.train(url, out=tmp_path / "m", config=settings)
    stored = ModelStore.open(tmp_path / "m").newest().tensors("peaks")["deviation"]
    assert np.abs(stored).max() < 1e-3
    assert report.final_solve["peak_deviations"]["tried"] == []
    assert report.final_solve["peak_deviations"]["weight"] == 1e12


def test_weights_hold_back_the_noise_of_the_whole_table():
    settings = DeviationSettings(10.0, 2, open_share=0.1)
    cells, weight = settings.weights(10_000, 2_500)
    assert cells == 30.0
    assert 2 * cells * weight == pytest.approx(1.5 * 0.09 * (100 + 50) ** 2)


def test_few_cells_do_not_deviate_and_say_so(tmp_path):
    url = atlas(tmp_path / "a.zarr", n_cells=99, n_peaks=200)
    settings = config(epochs=1, final_solve=True, peak_deviations=True)
    events: list[object] = []
    report = atlasbasset.train(url, out=tmp_path / "m", config=settings, on_event=events.append)
    (told,) = (event for event in events if isinstance(event, PeaksSolved))
    assert "deviations need 100 cells" in told.shown().message
    assert report.final_solve["peak_deviations"]["weight"] is None
    assert not ModelStore.open(tmp_path / "m").newest().has_tensors("peaks")


def test_with_batches_peaks_deviate_where_a_weight_is_given(atlas_url, tmp_path):
    found = {}
    for weight in (0.0, 3.0):
        settings = config(
            epochs=1, final_solve=True, peak_deviations=True, peak_l2=weight, batch_key="sample"
        )
        trained = atlasbasset.train(atlas_url, out=tmp_path / f"{weight}", config=settings)
        found[weight] = trained.final_solve["peak_deviations"]["weight"]
    assert found == {0.0: None, 3.0: 3.0}


def test_where_neighbours_say_nothing_peaks_stay(tmp_path):
    """Labels that no cell shares with another: a gain above its error is chance, one in six."""
    settings, weights = config(epochs=1, final_solve=True, peak_deviations=True), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 4, (300, WINDOW + 6)).astype(np.uint8)
        url = make_atlas(tmp_path / f"{seed}.zarr", rng.random((120, 300)) < 0.1, codes)
        model = tmp_path / f"model{seed}"
        chosen = atlasbasset.train(url, out=model, config=settings).final_solve["peak_deviations"]
        assert len(chosen["tried"]) == 3
        weights.append(chosen["weight"])
    assert weights.count(None) >= 2


def test_without_the_last_solve_nothing_deviates(atlas_url, tmp_path):
    settings = config(epochs=1, final_solve=False, peak_deviations=True)
    assert atlasbasset.train(atlas_url, out=tmp_path / "m", config=settings).final_solve is None


def test_fast_deviates_and_papers_recipe_does_not():
    assert TrainConfig.recipe("fast").peak_deviations
    assert not TrainConfig.recipe("paper").peak_deviations


@pytest.mark.slow
def test_two_workers_do_what_one_does(atlas_url, tmp_path):
    """The sample, the candidates and the peaks are shared among them."""
    settings = config(
        epochs=1, learning_rate=1e-12, final_solve=True, peak_deviations=True, peak_rounds=1
    )
    reports = [
        atlasbasset.train(
            atlas_url, out=tmp_path / str(n), config=settings, workers=n, launcher="process"
        )
        for n in (1, 2)
    ]
    one, two = (report.final_solve["peak_deviations"] for report in reports)
    losses = [[tried["loss"] for tried in found["tried"]] for found in (one, two)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    assert [one[name] for name in ("weight", "l2_cells")] == [two["weight"], two["l2_cells"]]
    stored = [ModelStore.open(tmp_path / str(n)).newest() for n in (1, 2)]
    for file, name in (("peaks", "deviation"), ("trunk", "bottleneck.readout_weight")):
        first, second = (checkpoint.tensors(file)[name] for checkpoint in stored)
        np.testing.assert_allclose(second, first, atol=2e-3)
