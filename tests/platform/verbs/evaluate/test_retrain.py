"""Models trained again on changed labels: which labels they learn from, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import atlasbasset
from atlasbasset.verbs.evaluate import retrain
from atlasbasset.verbs.evaluate.retrain import retraining_lines, write_changed
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import UserInputError
from atlasstore.events import ignore
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

N, P = 40, 120


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("stores"), np.random.default_rng(3)
    codes = rng.integers(0, 4, (P, TINY.window_bp + 6), dtype=np.uint8)
    labels = rng.random((N, P)) < rng.uniform(0.1, 0.6, P)
    atlas = make_atlas(folder / "atlas.zarr", labels, codes, max_block_cells=16)
    config = atlasbasset.TrainConfig(
        trunk=TINY, epochs=2, batch_size=32, n_auroc_peaks=20, compute="fp32"
    )
    model = str(folder / "model.zarr")
    atlasbasset.train(atlas, out=model, config=config, on_event=ignore)
    return model, atlas, labels


def test_a_changed_atlas_has_the_chosen_cells_and_the_same_peaks(stores, tmp_path):
    _, url, labels = stores
    atlas, cells = Atlas.open(url), np.array([0, 3, 17, 39])
    out = write_changed(tmp_path / "a.zarr", atlas, cells, lambda given: given[:, ::-1])
    made = Atlas.open(out)
    np.testing.assert_array_equal(made.to_anndata().X.toarray() > 0, labels[cells][:, ::-1])
    assert list(made.obs.index) == list(atlas.obs.index[cells])
    assert made.var.equals(atlas.var)
    np.testing.assert_array_equal(made.sequence_codes(0, P), atlas.sequence_codes(0, P))


def test_rows_of_models_trained_again_come_last_and_a_plan_says_what_they_cost(stores, monkeypatch):
    model, atlas, _ = stores
    monkeypatch.setattr(retrain, "SHARES", (0.5,))
    trained = []
    train = retrain.train

    def noted(changed, **given):
        trained.append((Atlas.open(changed).n_positives, given["config"]))
        return train(changed, **given)

    monkeypatch.setattr(retrain, "train", noted)
    plan = atlasbasset.plan_evaluate(model, atlas, baselines=True, retrain=True)
    assert "2 trainings of 2 epochs" in dict(plan.lines())["training again"]
    rows = plan.run(on_event=ignore).baselines.rows[-2:]
    assert [row.name for row in rows] == [
        "model trained on 50% of reads",
        "model trained on shuffled labels",
    ]
    assert all(0 < row.auroc_per_cell < 1 for row in rows)
    n_all = Atlas.open(atlas).n_positives
    assert trained[0][0] == pytest.approx(n_all / 2, rel=0.1)
    assert trained[1][0] == n_all
    own = atlasbasset.load_model(model).config["train"]
    assert all(config.batch_size == own["batch_size"] for _, config in trained)


def test_what_cannot_be_trained_again_is_refused(stores, tmp_path):
    _, atlas, _ = stores
    imported = write_model(tmp_path / "m", random_weights(np.random.default_rng(4), N))
    with pytest.raises(UserInputError, match="was not trained here"):
        atlasbasset.plan_evaluate(imported, atlas, baselines=True, retrain=True)
    with pytest.raises(UserInputError, match="ask for these"):
        atlasbasset.plan_evaluate(imported, atlas, retrain=True)


def test_long_records_are_said_in_hours(stores, monkeypatch):
    store = ModelStore.open(stores[0])
    found = store.newest()
    found.state["history"] = [{"seconds": 5000.0}, {"seconds": 2200.0}]
    monkeypatch.setattr(store, "newest", lambda: found)
    assert retraining_lines(store)[0][1].endswith("the model's own took 2.0 h")
