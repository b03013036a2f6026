from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

import atlasbasset
from atlasbasset.inference import groups
from atlasbasset.inference.groups import cell_groups
from atlasstore.errors import UserInputError
from small_model import random_weights, write_model

pytestmark = pytest.mark.filterwarnings("ignore:This setting will be removed:DeprecationWarning")
"""Of anndata 0.13: the format of zarr, which 0.12 must be told."""
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
        gaps=np.array(["t10", "t2", "", "nan", " "])[np.arange(N) % 5],
        none=np.array(["", "nan"])[np.arange(N) % 2],
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
        ("celltype", "no column 'celltype'; its columns: cell_type, ordered"),
        ("none", "has no label for any of 30 cells"),
    ],
)
def test_refused(model, key, message):
    with pytest.raises(UserInputError, match=message):
        cell_groups(model, key)


@pytest.mark.parametrize(
    ("key", "names", "counts", "n_left_out"),
    [("half", ("a",), [15], 15), ("gaps", ("t2", "t10"), [6, 6], 18)],
)
def test_cells_without_a_label_are_left_out_and_counted(model, key, names, counts, n_left_out):
    found = cell_groups(model, key)
    assert (found.names, found.n_cells.tolist()) == (names, counts)
    of_cell = model.obs[key].astype(object).to_numpy()
    for name, mean in zip(names, found.embedding, strict=True):
        expected = model.cell_embedding[of_cell == name].astype(float).mean(0)
        np.testing.assert_allclose(mean, expected, rtol=1e-6)
    assert found.notice == (f"{n_left_out} of 30 cells have no label in {key!r} and are left out.")


@pytest.fixture
def table():
    """Labels of 20 of the cells in another order, and of two that are none."""
    rng = np.random.default_rng(2)
    names = [f"cell{i}" for i in rng.permutation(N)[:20]] + ["x1", "x2"]
    leiden = pd.Categorical.from_codes(np.arange(22) % 3, ["2", "0", "1"])
    labels = np.array(["c1", "c2", "c10"])[np.arange(22) % 3]
    return pd.DataFrame({"leiden": leiden, "type": labels, "n": np.arange(22) % 2}, index=names)


def written(table, path):
    if path.suffix in (".h5ad", ".zarr"):
        adata = anndata.AnnData(obs=table)
        with anndata.settings.override(zarr_write_format=3, auto_shard_zarr_v3=False):
            (adata.write_h5ad if path.suffix == ".h5ad" else adata.write_zarr)(path)
    else:
        table.to_csv(path, sep="\t" if ".tsv" in path.name else ",")
    return path


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("form", [None, "c.csv", "c.tsv.gz", "c.h5ad", "c.zarr"])
def test_labels_of_a_table_that_came_later(model, table, tmp_path, form):
    obs = table if form is None else written(table, tmp_path / form)
    found = cell_groups(model, "type", obs=obs)
    assert found.names == ("c1", "c2", "c10")
    for name, mean in zip(found.names, found.embedding, strict=True):
        members = [c for c in table.index[table["type"] == name] if c.startswith("cell")]
        rows = model.obs_names.get_indexer(members)
        np.testing.assert_allclose(mean, model.cell_embedding[rows].mean(0), rtol=1e-5)
    assert "10 of 30 cells have no label in 'type'" in found.notice
    assert "2 names in the table of cells are none of the model's" in found.notice
    assert cell_groups(model, "n", obs=obs).names == ("0", "1")
    assert cell_groups(model, "ordered", obs=obs).names == ("T cell", "NK", "B cell")


def test_categories_of_a_table_keep_their_order(model, table, tmp_path):
    path = written(table, tmp_path / "c.h5ad")
    assert cell_groups(model, "leiden", obs=path).names == ("2", "0", "1")
    assert cell_groups(model, "leiden", obs=written(table, tmp_path / "c.csv")).names == (
        "0",
        "1",
        "2",
    )


def test_tables_that_do_not_fit_are_refused(model, table, tmp_path):
    cases = [
        ({"obs": table}, None, "name the column to group by"),
        ({"obs": table}, "cluster", "no column 'cluster'"),
        ({"obs": table.set_axis([f"y{i}" for i in range(22)])}, "type", "none of 22 names"),
        ({"obs": pd.concat([table, table])}, "type", "names 'cell.*' more than once"),
        ({"obs": tmp_path / "absent.csv"}, "type", "does not exist"),
        ({"obs": tmp_path / "cells.xlsx"}, "type", "ends in none of .csv"),
    ]
    for options, key, message in cases:
        with pytest.raises(UserInputError, match=message):
            cell_groups(model, key, **options)


def test_a_number_of_each_cell_is_no_group(model, monkeypatch):
    monkeypatch.setattr(groups, "MAX_GROUPS", 29)
    with pytest.raises(UserInputError, match=r"30 different values \(0.5, 1.5, ...\), too many"):
        cell_groups(model, "depth")


def test_no_cells(model):
    with pytest.raises(UserInputError, match="no cells are chosen"):
        cell_groups(model, None, cells=[])
    with pytest.raises(UserInputError, match="1 of 1 cells are unknown"):
        cell_groups(model, "cell_type", cells=["nobody"])
