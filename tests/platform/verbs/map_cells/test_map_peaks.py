"""Fitted peaks without a deviation, solved on the mapped cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

import atlasbasset
import tiny
from atlasbasset.core.deviation_choice import deviation_weight
from atlasbasset.inference.peak_deviations import PeakDeviations
from atlasbasset.verbs.map_cells.plan import plan_map_cells
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.genome.peaks import peaks_digest
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas, make_peaks
from small_model import TINY, random_weights, write_model

N, P, L, E = 104, 200, TINY.window_bp, TINY.embedding_dim
L2 = 4.0


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(1).integers(0, 5, (P, L + 6), dtype=np.uint8)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model without deviations."""
    weights = random_weights(np.random.default_rng(2), N)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


@pytest.fixture(scope="module")
def labels(plain, codes):
    """Labels (cells, peaks) that sequences explain in part."""
    rng = np.random.default_rng(3)
    h = plain.embed(codes[:, 3:-3])
    h = (h - h.mean(0)) / h.std(0)
    kinds = rng.normal(0, 1, (2, E))[np.arange(N) % 2]
    own = rng.normal(0, 1, (2, P))[np.arange(N) % 2]
    return rng.random((N, P)) < expit(kinds @ h.T + own - 1)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, labels, codes):
    url = make_atlas(tmp_path_factory.mktemp("stores") / "a", labels, codes, max_block_cells=35)
    return Atlas.open(url)


@pytest.fixture(scope="module")
def model(plain, atlas):
    """The same with deviations of its training peaks."""
    deviation = np.zeros((P, E), np.float32)
    rows = atlas.peak_rows("train")
    deviation[rows] = np.random.default_rng(4).normal(0, 0.3, (len(rows), E))
    return replace(plain, deviations=PeakDeviations(deviation, peaks_digest(atlas.var)))


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, model, atlas):
    out = tmp_path_factory.mktemp("stores") / "mapped"
    events: list[object] = []
    return atlasbasset.map_cells(
        model, atlas, out=out, split="all", l2=L2, on_event=events.append
    ), events


def expected_peak(w, b, y, said, weight):
    """Minimise a peak's own objective by BFGS in float64."""

    def objective(x):
        logit = w @ x + b
        loss = np.logaddexp(0, logit).sum() - logit @ y
        return loss + weight / 2 * (x @ x + (x - said) @ (x - said))

    def gradient(x):
        return w.T @ (expit(w @ x + b) - y) + weight * (2 * x - said)

    return minimize(objective, said, jac=gradient, method="BFGS", options={"gtol": 1e-9}).x


def test_held_out_peaks_are_solved_on_the_cells_and_cells_on_all(
    mapped, model, atlas, codes, labels, tmp_path
):
    report, _ = mapped
    free = np.setdiff1d(np.arange(P), atlas.peak_rows("train"))
    assert (report.n_peaks, report.n_peaks_solved) == (P, len(free))
    first = atlasbasset.map_cells(
        model, atlas, out=tmp_path / "m", split="all", l2=L2, solve_peaks="off"
    )
    w, b = (t.astype(float) for t in atlasbasset.load_model(first.model).table())
    weight = deviation_weight(P, N, labels.mean(), L2)
    said = model.embed(codes[:, 3:-3]).astype(float)
    new = atlasbasset.load_model(report.model, device="cpu")
    x = said + new.deviations.deviation
    for peak in free:
        found = expected_peak(w, b, labels[:, peak].astype(float), said[peak], weight)
        np.testing.assert_allclose(x[peak], found, atol=2e-3)  # float32, by gradients' norm
    trained = atlas.peak_rows("train")
    np.testing.assert_array_equal(
        new.deviations.deviation[trained], model.deviations.deviation[trained]
    )
    for cell in range(N):
        theirs = LogisticRegression(C=1 / L2, solver="newton-cholesky", tol=1e-10)
        theirs.fit(x, labels[cell])
        np.testing.assert_allclose(new.cell_embedding[cell], theirs.coef_[0], atol=2e-4)


def test_they_fit_their_labels_better_than_sequences_do(mapped, model, atlas, tmp_path):
    without = atlasbasset.map_cells(
        model, atlas, out=tmp_path / "m", split="all", l2=L2, solve_peaks="off"
    )
    assert without.n_peaks_solved == 0
    assert mapped[0].loss < without.loss


def test_denoise_takes_them(mapped, model, atlas, tmp_path):
    import anndata

    free = int(np.setdiff1d(np.arange(P), atlas.peak_rows("train"))[0])
    name = [atlas.var.index[free]]
    atlasbasset.denoise(mapped[0].model, atlas, out=tmp_path / "d", peaks=name)
    found = anndata.read_zarr(tmp_path / "d").varm["scbasset_sequence"][0]
    new = atlasbasset.load_model(mapped[0].model, device="cpu")
    codes = atlas.sequence_codes(free, free + 1)[:, 3:-3]
    expected = new.embed(codes)[0] + new.deviations.deviation[free]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_only_fitted_peaks_that_have_none(model, atlas, tmp_path, split):
    report = atlasbasset.map_cells(
        model, atlas, out=tmp_path / "m", split=split, l2=L2, solve_peaks="on"
    )
    n_free = 0 if split == "train" else len(atlas.peak_rows("valid"))
    assert report.n_peaks_solved == n_free


def test_peaks_of_another_atlas_are_solved_where_the_model_deviates(
    plain, model, atlas, labels, codes, tmp_path
):
    other = make_peaks(P, step=700)
    moved = make_atlas(tmp_path / "a", labels, codes, peaks=other, max_block_cells=35)
    without = plan_map_cells(plain, moved, out=tmp_path / "m")
    assert without.free is None
    events: list[object] = []
    report = atlasbasset.map_cells(model, moved, out=tmp_path / "m", l2=L2, on_event=events.append)
    rows = Atlas.open(moved).peak_rows("train")
    assert report.n_peaks_solved == report.n_peaks == len(rows)
    deviation = atlasbasset.load_model(report.model).deviations.deviation
    assert (deviation.any(axis=1) == np.isin(np.arange(P), rows)).all()
    said = [event.message for event in events if isinstance(event, Notice)]
    assert not any("of other peaks" in message for message in said)


def test_peaks_that_stayed_in_training_are_solved_on_another_atlas_alone(
    tmp_path_factory, tmp_path
):
    own = tiny.atlas(
        tmp_path_factory.mktemp("stores") / "own.zarr", n_cells=120, n_peaks=100
    )  # too few of them to tell
    other = tiny.atlas(tmp_path_factory.mktemp("stores") / "other.zarr", n_cells=120, n_peaks=170)
    settings = tiny.config(epochs=1, peak_deviations=True, final_solve=True, peak_l2=0.0)
    model = str(tmp_path / "model")
    atlasbasset.train(own, out=model, config=settings)
    stayed = ModelStore.open(model)
    assert PeakDeviations.of(stayed.newest()) is None
    assert plan_map_cells(model, own, out=tmp_path / "m", split="all").free is None
    assert plan_map_cells(model, other, out=tmp_path / "m", split="all").free.count == 170


def test_few_cells_leave_peaks_where_they_are(model, labels, codes, tmp_path):
    few = make_atlas(tmp_path / "a", labels[:99], codes)
    assert plan_map_cells(model, few, out=tmp_path / "m", split="all").free is None
    asked = plan_map_cells(model, few, out=tmp_path / "m", split="all", solve_peaks="on")
    assert asked.free is not None


def test_not_beside_batches(plain, atlas, tmp_path):
    batched = Atlas.open(atlas.url)
    batched.obs = batched.obs.assign(lab=pd.Categorical([*"ab"] * (N // 2)))
    with pytest.raises(UserInputError, match="leave out one of solve_peaks and batch_key"):
        atlasbasset.map_cells(plain, batched, out=tmp_path / "m", batch_key="lab", solve_peaks="on")
    with pytest.raises(UserInputError, match="must be one of auto, on, off, got 'yes'"):
        atlasbasset.map_cells(plain, atlas, out=tmp_path / "m", solve_peaks="yes")
    assert list(tmp_path.iterdir()) == []


def test_blocks_change_rounding_alone(mapped, model, labels, codes, tmp_path):
    one = Atlas.open(make_atlas(tmp_path / "a", labels, codes))
    report = atlasbasset.map_cells(model, one, out=tmp_path / "m", split="all", l2=L2)
    ours, theirs = (atlasbasset.load_model(r.model) for r in (mapped[0], report))
    np.testing.assert_allclose(ours.cell_embedding, theirs.cell_embedding, atol=1e-5)
    np.testing.assert_allclose(ours.deviations.deviation, theirs.deviations.deviation, atol=1e-5)


@pytest.mark.parametrize("stage", ["solving cells", "solving peaks"])
def test_killed_it_is_resumed_to_the_same_bits(model, atlas, mapped, tmp_path, stage):
    def killed(event: object) -> None:
        if isinstance(event, Progress) and event.stage == stage and event.done:
            raise KeyboardInterrupt

    given = {"out": tmp_path / "m", "split": "all", "l2": L2}
    with pytest.raises(KeyboardInterrupt):
        atlasbasset.map_cells(model, atlas, **given, on_event=killed)
    report = atlasbasset.map_cells(model, atlas, **given)
    ours, theirs = (atlasbasset.load_model(r.model) for r in (mapped[0], report))
    np.testing.assert_array_equal(ours.cell_embedding, theirs.cell_embedding)
    np.testing.assert_array_equal(ours.deviations.deviation, theirs.deviations.deviation)


def test_another_choice_is_another_job(model, atlas, mapped):
    given = {"out": mapped[0].model, "split": "all", "l2": L2}
    assert atlasbasset.map_cells(model, atlas, **given).was_finished
    with pytest.raises(StoreExistsError, match="made by another job"):
        atlasbasset.map_cells(model, atlas, **given, solve_peaks="off")


def test_a_weight_that_training_was_told_holds_here_as_well(model, atlas, tmp_path):
    store = ModelStore.open(model.url)
    train = {**dict(store.config["train"]), "peak_l2": 7.0}
    store.config = {**dict(store.config), "train": train}
    told = replace(model, store=store)
    plan = plan_map_cells(told, atlas, out=tmp_path / "m", split="all")
    assert plan.free.weight == 7.0
    assert "held with weight 7" in str(plan)


def test_evaluate_says_that_cells_have_seen_the_peaks(mapped, atlas):
    events: list[object] = []
    atlasbasset.evaluate(mapped[0].model, atlas, on_event=events.append)
    said = [event.message for event in events if isinstance(event, Notice)]
    assert any("solved on the labels of test peaks as well" in message for message in said)
