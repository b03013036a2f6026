from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

import atlasbasset
from atlasbasset.engine.config import TrainConfig
from atlasbasset.verbs.map_cells.plan import plan_map_cells
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import NotAStoreError, StoreExistsError, UserInputError
from atlasstore.events import Notice, Progress
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

N, P, L, EMPTY = 50, 300, TINY.window_bp, 7


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    weights = random_weights(np.random.default_rng(1), 4)
    url = write_model(tmp_path_factory.mktemp("stores") / "model", weights)
    return atlasbasset.load_model(url, device="cpu")


@pytest.fixture(scope="module")
def truth(model):
    """Labels (cells x peaks) of cells planted on the trunk, and the peaks' codes."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 5, (P, L + 6), dtype=np.uint8)
    h = model.embed(codes[:, 3:-3])
    kinds = rng.normal(0, 2, (2, TINY.embedding_dim))[np.arange(N) % 2]
    logits = kinds @ ((h - h.mean(0)) / h.std(0)).T - 1
    labels = rng.random((N, P)) < expit(logits)
    labels[EMPTY] = False
    return labels, codes


@pytest.fixture(scope="module")
def atlas(tmp_path_factory, truth):
    url = make_atlas(tmp_path_factory.mktemp("stores") / "atlas", *truth, max_block_cells=13)
    opened = Atlas.open(url)
    opened.obs = opened.obs.assign(kind=pd.Categorical([*"ab"] * (N // 2)))
    return opened


@pytest.fixture(scope="module")
def mapped(tmp_path_factory, model, atlas):
    events: list[object] = []
    out = tmp_path_factory.mktemp("stores") / "mapped"
    report = atlasbasset.map_cells(model, atlas, out=out, on_event=events.append)
    return out, report, events


def test_every_cell_is_its_logistic_regression(mapped, model, atlas, truth):
    labels, codes = truth
    rows = atlas.peak_rows("train")
    h = model.embed(codes[rows][:, 3:-3])
    new = atlasbasset.load_model(mapped[0], device="cpu")
    assert new.cell_embedding.shape == (N, TINY.embedding_dim)
    np.testing.assert_array_equal(new.embed(codes[:2, 3:-3]), model.embed(codes[:2, 3:-3]))
    for cell in set(range(N)) - {EMPTY}:
        theirs = LogisticRegression(C=0.1, solver="newton-cholesky", tol=1e-10)
        theirs.fit(h.astype(float), labels[cell, rows])
        np.testing.assert_allclose(new.cell_embedding[cell], theirs.coef_[0], atol=2e-4)
        np.testing.assert_allclose(new.intercept[cell], theirs.intercept_[0], atol=5e-4)


def test_the_report_and_the_stored_one_agree(mapped, atlas):
    out, report, events = mapped
    assert report.converged.all()
    assert report.one_class.nonzero()[0].tolist() == [EMPTY]
    values = report.as_json()
    assert json.loads(json.dumps(values)) == values
    assert (values["n_cells"], values["n_converged"], values["n_one_class"]) == (N, N, 1)
    assert values["n_peaks"] == len(atlas.peak_rows("train"))
    checkpoint = ModelStore.open(out).newest()
    assert checkpoint.state["mapped"]["loss"] == values["loss"]
    for name in ("iterations", "gradient_norm", "converged"):
        stored = checkpoint.rows(f"solve/{name}", 0, N)
        np.testing.assert_array_equal(stored, getattr(report, name))
    done = [e.done for e in events if isinstance(e, Progress) and e.stage == "solving cells"]
    assert done == [0, *(b.stop for b in atlas.blocks)]
    assert any(isinstance(e, Notice) and "1 cells have none" in e.message for e in events)


def test_every_verb_opens_it(mapped, atlas, tmp_path):
    out = mapped[0]
    found = atlasbasset.evaluate(str(out), atlas, label_key="kind", ks=(5,))
    assert found.prediction.mean_auroc_per_cell > 0.75
    assert found.labels.mean[5] > 0.9
    cells = atlasbasset.embed(out)
    assert list(cells.obs_names) == list(atlas.obs.index)
    assert list(cells.obs["kind"][:2]) == ["a", "b"]
    assert atlasbasset.denoise(out, atlas, out=tmp_path / "d.zarr").n_cells == N


def test_blocks_do_not_change_the_cells(mapped, model, truth, tmp_path):
    one_block = make_atlas(tmp_path / "atlas", *truth)
    atlasbasset.map_cells(model, one_block, out=tmp_path / "mapped")
    ours, theirs = (atlasbasset.load_model(m) for m in (mapped[0], tmp_path / "mapped"))
    np.testing.assert_allclose(ours.cell_embedding, theirs.cell_embedding, atol=1e-5)


def test_by_default_cells_have_the_weight_of_the_models_own(mapped, model, atlas, tmp_path):
    assert mapped[1].l2 == 10.0
    atlasbasset.map_cells(model, atlas, out=tmp_path / "a", l2=2.0)
    plan = plan_map_cells(tmp_path / "a", atlas, out=tmp_path / "b")
    assert plan.as_json()["l2"] == 2.0


def test_other_peaks_and_l2(model, atlas, tmp_path):
    found = {
        l2: atlasbasset.map_cells(model.url, atlas.url, out=tmp_path / f"m{l2}", split="all", l2=l2)
        for l2 in (1.0, 100.0)
    }
    assert {report.n_peaks for report in found.values()} == {P}
    norms = [np.abs(atlasbasset.load_model(r.model).cell_embedding).mean() for r in found.values()]
    assert norms[0] > 2 * norms[1]


def test_map_is_the_verb(model):
    assert atlasbasset.map is atlasbasset.map_cells
    assert "map" not in atlasbasset.__all__  # or a star import would hide Python's own


def test_training_does_not_go_on_with_it(mapped, atlas):
    config = TrainConfig.from_json(dict(ModelStore.open(mapped[0]).config["train"]))
    with pytest.raises(UserInputError, match="was not started on"):
        atlasbasset.train(atlas.url, out=mapped[0], config=config)


def test_another_window_is_refused(model, truth, tmp_path):
    labels, codes = truth
    short = make_atlas(tmp_path / "atlas", labels, codes[:, : 192 + 6])
    with pytest.raises(UserInputError, match="preprocess with --window-bp 384"):
        atlasbasset.map_cells(model, short, out=tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"l2": 0.0}, "l2 must be above 0"), ({"split": "rest"}, "split must be one of")],
)
def test_bad_options_get_one_sentence(model, atlas, tmp_path, options, message):
    with pytest.raises(UserInputError, match=message):
        atlasbasset.map_cells(model, atlas, out=tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_same_job_again_does_nothing_and_another_is_refused(model, atlas, mapped):
    events = []
    again = atlasbasset.map_cells(model, atlas, out=mapped[0], on_event=events.append)
    assert again.was_finished
    assert "the same job made it before" in events[0].message
    with pytest.raises(StoreExistsError, match=r"made by another job \(l2 10.0, now 3.0\)"):
        atlasbasset.map_cells(model, atlas, out=mapped[0], l2=3.0)


def cells(url):
    return atlasbasset.load_model(url).table()


@pytest.mark.parametrize("stage", ["embedding sequences", "solving cells", "writing cells"])
@pytest.mark.parametrize("place", ["local", "memory"])
def test_killed_it_is_resumed_to_the_same_bits(model, atlas, mapped, tmp_path, stage, place):
    out = str(tmp_path / "out") if place == "local" else f"memory://{tmp_path.name}/out"

    def killed(event: object) -> None:
        if isinstance(event, Progress) and event.stage == stage and event.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        atlasbasset.map_cells(model, atlas, out=out, on_event=killed)
    with pytest.raises(NotAStoreError, match="incomplete"):
        atlasbasset.load_model(out)
    report = atlasbasset.map_cells(model, atlas, out=out)
    assert not report.was_finished
    for found, expected in zip(cells(out), cells(mapped[0]), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not urls.exists(f"{out}.partial")


def test_into_memory_urls(model, atlas):
    report = atlasbasset.map_cells(model, atlas, out="memory://test_map_cells/model")
    assert atlasbasset.load_model(report.model).n_cells == N
