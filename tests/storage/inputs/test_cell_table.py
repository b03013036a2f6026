from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import UserInputError
from atlasstore.inputs.cell_table import read_cell_table


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", ',type,day\na,T cell,01\nb,"B, naive",\n'),
        ("c.csv", "\ufeffcell;type;day\r\na;T cell;01\r\n\r\nb;B, naive;\r\n"),
        ("c.tsv", "cell\ttype\tday\na\tT cell\t01\nb\tB, naive\t\n"),
        ("c.txt", "type\tday\na\tT cell\t01\nb\tB, naive\t\n"),  # as R writes it
    ],
)
def test_text(tmp_path, name, text):
    (tmp_path / name).write_text(text, newline="")
    table = read_cell_table(tmp_path / name)
    assert table.index.tolist() == ["a", "b"]
    assert table.to_dict("list") == {"type": ["T cell", "B, naive"], "day": ["01", ""]}


def test_the_obs_of_an_anndata_without_counts(tmp_path):
    obs = pd.DataFrame({"type": pd.Categorical(["T", "B"], ["T", "B"])}, index=["a", "b"])
    anndata.AnnData(obs=obs).write_h5ad(tmp_path / "c.h5ad")
    table = read_cell_table(tmp_path / "c.h5ad")
    assert table.index.tolist() == ["a", "b"]
    assert table["type"].cat.categories.tolist() == ["T", "B"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no cells"),
        ("cell,type\n", "has no cells"),
        ("cell\na\n", "has no column beside the cells' names"),
        ("cell,type\na,T\na,B\n", "names cell 'a' more than once"),
        ("cell,type\na,T\nb,T,x\n", "line 3 has 3 fields, but the first line names 2"),
        ("cell,type,type\na,T,B\n", "give each a name of its own"),
        ('cell,type\na,"T\n', "is no line of a table"),
    ],
)
def test_wrong_tables_are_named(tmp_path, text, message):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(UserInputError, match=message):
        read_cell_table(tmp_path / "c.csv")


def test_what_is_no_anndata_is_named(tmp_path):
    np.save(tmp_path / "c.npy", np.zeros(3))
    (tmp_path / "c.npy").rename(tmp_path / "c.h5ad")
    with pytest.raises(UserInputError, match="not an HDF5 file"):
        read_cell_table(tmp_path / "c.h5ad")
