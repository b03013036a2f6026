"""`map` with labels: planted cells onto a model of others of the same types."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import atlasbasset
from atlasbasset.metrics.label_transfer import transfer_labels
from atlasstore.errors import UserInputError
from atlasstore.models.model_store import ModelStore
from small_atlas import make_atlas
from small_model import TINY, random_weights, write_model

N, P, L = 90, 300, TINY.window_bp
KINDS = np.arange(N) % 3


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A model of mapped cells with their kinds, and an atlas of other cells of the same kinds."""
    folder = tmp_path_factory.mktemp("stores")
    weights = random_weights(np.random.default_rng(1), 4)
    trunk = atlasbasset.load_model(write_model(folder / "trunk", weights), device="cpu")
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 4, (P, L + 6), dtype=np.uint8)
    h = trunk.embed(codes[:, 3:-3])
    means = rng.normal(0, 2, (3, TINY.embedding_dim))
    logits = means[KINDS] @ ((h - h.mean(0)) / h.std(0)).T - 1
    atlases = [
        make_atlas(
            folder / name,
            rng.random((N, P)) < expit(logits),
            codes,
            more_obs={"kind": pd.Categorical(np.array(["a", "b", "c"])[KINDS])},
        )
        for name in ("reference-atlas", "new-atlas")
    ]
    model = folder / "model"
    atlasbasset.map_cells(trunk, atlases[0], out=model)
    return str(model), atlases[1], folder


@pytest.fixture(scope="module")
def mapped(stores):
    model, atlas, folder = stores
    out = str(folder / "mapped")
    return out, atlasbasset.map_cells(model, atlas, out=out, label_key="kind")


def test_labels_are_columns_of_the_new_model(mapped, stores):
    out, report = mapped
    obs = ModelStore.open(out).obs
    assert (obs["mapped_kind"].astype(str) == obs["kind"].astype(str)).mean() > 0.95
    assert obs["mapped_kind_confidence"].between(0, 1).all()
    assert obs["mapped_kind_novelty"].between(0, 1).all()
    reference, new = (atlasbasset.load_model(url).cell_embedding for url in (stores[0], out))
    expected = transfer_labels(reference, np.array([*"abc"] * (N // 3), object), new)
    np.testing.assert_allclose(obs["mapped_kind_novelty"], expected.novelty)
    np.testing.assert_allclose(obs["mapped_kind_confidence"], expected.confidence)
    assert report.labels.counts == obs["mapped_kind"].value_counts().to_dict()


def test_report_as_json(mapped):
    found = json.loads(json.dumps(mapped[1].as_json()))["labels"]
    assert found["columns"][0] == "mapped_kind"
    assert found["n_reference"] == N
    assert 0.9 < found["accuracy"] <= 1


def test_a_finished_map_is_labelled_by_a_table_that_came_later(mapped, stores):
    model, atlas, _ = stores
    table = pd.DataFrame({"state": ["x", "y", None] * (N // 3)}, [f"cell{i}" for i in range(N)])
    heard = []
    again = atlasbasset.map_cells(
        model, atlas, out=mapped[0], label_key="state", obs=table, on_event=heard.append
    )
    assert again.was_finished
    assert set(again.labels.counts) == {"x", "y"}
    assert again.labels.n_reference == 2 * N // 3
    assert any("30 of 90 cells have no label" in str(event) for event in heard)
    assert {"mapped_kind", "mapped_state"} <= set(ModelStore.open(mapped[0]).obs)


def test_a_plan_says_who_votes(stores):
    model, atlas, folder = stores
    plan = atlasbasset.plan_map_cells(model, atlas, out=folder / "other", label_key="kind")
    assert "3 of 'kind', 90 cells vote" in str(plan)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_key": "cell_type"}, "has no column 'cell_type'"),
        ({"obs": pd.DataFrame({"k": ["a"]}, ["cell0"])}, "name the column"),
    ],
)
def test_wrong_labels_are_refused_before_the_work(stores, options, message):
    model, atlas, folder = stores
    with pytest.raises(UserInputError, match=message):
        atlasbasset.map_cells(model, atlas, out=folder / "none", **options)
    assert not (folder / "none").exists()
