"""Columns read one by one are those of the whole table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import zarr

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.zarrio import outline, tables

CATEGORY = pd.Categorical(["b", None, "a", "b"], categories=["b", "a", "never"])


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "category": CATEGORY,
            "Category": ["p", "q", "p", "p"],  # is stored by another name
            "whole": np.array([3, 1, 2, 1], np.int32),
            "real": [0.5, 1.5, 2.5, -1.0],
            "flag": pd.array([True, None, False, True], "boolean"),
        },
        index=list("wxyz"),
    )


@pytest.fixture
def group(tmp_path, table):
    made = urls.create_group(tmp_path / "s.zarr")
    tables.write_table(made, "obs", table)
    tables.write_element(made, "about", {"kind": "small", "n": 3})
    return made


def test_names_and_values_are_those_of_the_table(group, table, tmp_path):
    url = str(tmp_path / "s.zarr")
    whole = tables.read_table(group, "obs", url=url)
    assert outline.column_names(group, "obs", url=url) == list(whole.columns) == list(table.columns)
    found = outline.read_columns(group, "obs", *table.columns, url=url)
    for name, values in found.items():
        missing = whole[name].isna().to_numpy()
        np.testing.assert_array_equal(pd.isna(values), missing)
        np.testing.assert_array_equal(values[~missing], whole[name].to_numpy(object)[~missing])


def test_counts_are_those_of_pandas(group, tmp_path):
    url = str(tmp_path / "s.zarr")
    counted = outline.count_values(group, "obs", "category", url=url)
    expected = pd.Series(CATEGORY).value_counts(sort=False)
    assert list(counted.items()) == [(str(k), int(n)) for k, n in expected.items()]
    assert list(outline.count_values(group, "obs", "whole", url=url).items()) == [
        ("3", 1),
        ("1", 2),
        ("2", 1),
    ]


def test_texts_are_read_where_they_are(group, tmp_path):
    url = str(tmp_path / "s.zarr")
    assert outline.read_text(group, "about/kind", url=url) == "small"
    assert outline.read_text(group, "about/absent", url=url) is None
    assert outline.read_text(group, "nothing/kind", url=url) is None


def test_what_is_lost_or_damaged_is_an_error(group, tmp_path):
    url = str(tmp_path / "s.zarr")
    with pytest.raises(CorruptStoreError, match="obs/absent"):
        outline.read_columns(group, "obs", "absent", url=url)
    with pytest.raises(CorruptStoreError, match="absent"):
        outline.column_names(group, "absent", url=url)
    codes = tmp_path / "s.zarr/obs/category/codes/c/0"
    codes = codes if codes.exists() else tmp_path / "s.zarr/obs/category/codes/c.0"
    content = bytearray(codes.read_bytes())
    content[-5] ^= 0xFF
    codes.write_bytes(content)
    with pytest.raises(CorruptStoreError, match="cannot be read"):
        outline.count_values(group, "obs", "category", url=url)
    codes.unlink()
    with pytest.raises(CorruptStoreError, match="category/codes"):
        outline.read_columns(group, "obs", "category", url=url)


@pytest.mark.parametrize("code", [-2, 100])
def test_a_code_of_no_category_is_an_error(group, tmp_path, code):
    url = str(tmp_path / "s.zarr")
    codes = zarr.open_group(url, mode="r+")["obs/category/codes"]
    codes[0] = code
    with pytest.raises(CorruptStoreError, match="obs/category"):
        outline.read_columns(zarr.open_group(url), "obs", "category", url=url)
