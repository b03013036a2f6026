from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.inference import groups
from atlasbasset.inference.groups import cell_groups
from atlasstore.errors import UserInputError
from small_model import random_weights, write_model

N = 30


def opened(tmp_path, **columns):
    obs = pd.DataFrame(columns, index=[f"cell{i}" for i in range(N)])
    weights = random_weights(np.random.default_rng(1), N)
    return atlasbasset.load_model(write_model(tmp_path / "model", weights, obs=obs), device="cpu")


@pytest.fixture
def model(tmp_path):
    kinds = np.array(["T cell", "B cell", "NK"])[np.arange(N) % 3]
    ordered = pd.Categorical(kinds, categories=["none", "T cell", "NK", "B cell"])
    return opened(
        tmp_path,
        cell_type=kinds,
        ordered=ordered,
        depth=np.arange(N) + 0.5,
        half=np.where(np.arange(N) < 15, "a", None),
        whole=np.arange(N) % 2,
    )


def test_every_cell_by_itself(model):
    found = cell_groups(model, None)
    assert not found.is_grouped
    assert found.names == tuple(model.obs_names)
    np.testing.assert_array_equal(found.embedding, model.cell_embedding)
    assert found.table()["n_cells"].tolist() == [1] * N


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("cell_type", ("B cell", "NK", "T cell")),
        ("ordered", ("T cell", "NK", "B cell")),  # by category, empty ones left out
        ("whole", ("0", "1")),
    ],
)
def test_means_of_groups(model, key, names):
    found = cell_groups(model, key)
    assert (found.names, found.is_grouped, len(found)) == (names, True, len(names))
    of_cell = model.obs[key].astype(str).to_numpy()
    for name, mean, n_cells in zip(names, found.embedding, found.n_cells, strict=True):
        expected = model.cell_embedding[of_cell == name].astype(float).mean(0)
        np.testing.assert_allclose(mean, expected, rtol=1e-6)
        assert n_cells == (of_cell == name).sum()
    assert found.embedding.dtype == np.float32
    assert found.table().index.name == key


def test_some_cells(model):
    found = cell_groups(model, "cell_type", cells=["cell4", "cell1", "cell0"])
    assert found.names == ("B cell", "T cell")
    assert found.n_cells.tolist() == [2, 1]
    expected = model.cell_embedding[[1, 4]].mean(0)
    np.testing.assert_allclose(found.embedding[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("celltype", "no column 'celltype' to group its cells by; its columns: cell_type, ordered"),
        ("half", "lacks a value for 15 of 30 cells"),
    ],
)
def test_refused(model, key, message):
    with pytest.raises(UserInputError, match=message):
        cell_groups(model, key)


def test_a_number_of_each_cell_is_no_group(model, monkeypatch):
    monkeypatch.setattr(groups, "MAX_GROUPS", 29)
    with pytest.raises(UserInputError, match=r"30 different values \(0.5, 1.5, ...\), too many"):
        cell_groups(model, "depth")


def test_no_cells(model):
    with pytest.raises(UserInputError, match="no cells are chosen"):
        cell_groups(model, None, cells=[])
    with pytest.raises(UserInputError, match="1 of 1 cells are unknown"):
        cell_groups(model, "cell_type", cells=["nobody"])
