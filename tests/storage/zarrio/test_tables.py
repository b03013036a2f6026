from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.zarrio import formats, tables
from atlasstore.zarrio.tidy import tidy


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "text": ["x", "y", None],
            "category": pd.Categorical(["a", "b", "a"]),
            "flag": [True, None, False],
            "whole": np.array([1, None, 3], object),
            "real": [0.5, np.nan, 2.0],
            "mixed": [1, "two", None],
            "string": pd.array(["x", None, "y"], dtype="string"),
            "category of strings": pd.Categorical(pd.array(["x", None, "y"], dtype="string")),
            "count": np.array([1, 2, 3], np.int64),
            "nothing": np.array([None, None, None], object),
        },
        index=pd.Index(["p", "q", "r"]),
    )


def test_round_trip_keeps_values_and_missing_ones(tmp_path, table):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_table(group, "obs", table)
    read = tables.read_table(group, "obs", url=str(tmp_path / "s.zarr"))
    assert list(read.index) == ["p", "q", "r"]
    assert list(read.columns) == list(table.columns)
    for name in table:
        was, now = table[name], read[name]
        assert list(now.isna()) == list(was.isna()), name
        assert list(now.dropna().astype(str)) == list(was.dropna().astype(str)), name
    assert read["count"].dtype == np.int64


def test_anndata_alone_reads_it(tmp_path, table):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_table(group, "obs", table)
    elem = anndata.io.read_elem(zarr.open_group(tmp_path / "s.zarr", mode="r")["obs"])
    assert list(elem["category"]) == ["a", "b", "a"]


def test_text_is_stored_alike_whatever_pandas_held_it_in(tmp_path):
    """Read by anndata 0.12 and 0.13, a column of text has another type: object or string."""
    group = urls.create_group(tmp_path / "s.zarr")
    text = ["x", None, "y"]
    for name, dtype in (("objects", object), ("strings", "string")):
        index = pd.Index(["p", "q", "r"], dtype=dtype)
        table = pd.DataFrame({"t": pd.array(text, dtype), "c": pd.Categorical(text)}, index=index)
        table["c"] = table["c"].cat.rename_categories(table["c"].cat.categories.astype(dtype))
        tables.write_table(group, name, table)
    objects, strings = (tmp_path / "s.zarr" / name for name in ("objects", "strings"))
    files = [path.relative_to(objects) for path in objects.rglob("*") if path.is_file()]
    assert len(files) > 10
    for file in files:
        assert (strings / file).read_bytes() == (objects / file).read_bytes(), file


def test_tidy_leaves_the_table_alone(table):
    before = table.copy(deep=True)
    typed = tidy(table).table
    pd.testing.assert_frame_equal(table, before)
    assert not any(pd.api.types.is_object_dtype(dtype) for dtype in typed.dtypes)


def test_numbered_rows_and_columns_become_text():
    typed = tidy(pd.DataFrame({0: [1, 2]})).table
    assert list(typed.index) == ["0", "1"]
    assert list(typed.columns) == ["0"]


def test_every_array_of_a_table_is_checksummed(tmp_path, table):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_table(group, "obs", table)
    found = 0
    for file in (tmp_path / "s.zarr" / "obs").rglob("zarr.json"):
        metadata = json.loads(file.read_text())
        if metadata["node_type"] == "array" and metadata["shape"] != []:
            assert metadata["codecs"][-1]["name"] == "crc32c", file
            found += 1
    assert found > len(table.columns)


def test_damaged_or_absent_table_is_named(tmp_path, table):
    url = str(tmp_path / "s.zarr")
    group = urls.create_group(url)
    tables.write_table(group, "obs", table)
    with pytest.raises(CorruptStoreError, match=r"s\.zarr: var cannot be read"):
        tables.read_table(group, "var", url=url)
    tables.write_element(group, "var", {"a": 1})
    with pytest.raises(CorruptStoreError, match=r"var cannot be read .*not a table"):
        tables.read_table(group, "var", url=url)
    chunk = tmp_path / "s.zarr/obs/count/c/0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CorruptStoreError, match=r"s\.zarr: obs cannot be read"):
        tables.read_table(group, "obs", url=url)


@pytest.mark.parametrize("name", ["count", "category/codes", "whole/mask", "index"])
def test_a_lost_piece_is_no_zeros(tmp_path, table, name):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_table(group, "obs", table)
    where = "obs/" + (group["obs"].attrs["_index"] if name == "index" else name)
    (tmp_path / "s.zarr" / where / "c/0").unlink()
    with pytest.raises(CorruptStoreError, match=f"array {where} has 0 of its 1 stored pieces"):
        tables.read_table(group, "obs", url=str(tmp_path / "s.zarr"))


def test_a_lost_scalar_is_no_empty_text(tmp_path):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_element(group, "uns", {"kind": "ism", "shards": {"X": np.arange(3)}})
    assert tables.read_element(group, "uns", url=str(tmp_path / "s.zarr"))["kind"] == "ism"
    (tmp_path / "s.zarr/uns/kind/c").unlink()
    with pytest.raises(CorruptStoreError, match="uns/kind has 0 of its 1"):
        tables.read_element(group, "uns", url=str(tmp_path / "s.zarr"))


def test_finish_consolidates_then_stamps(tmp_path):
    group = urls.create_group(tmp_path / "s.zarr")
    formats.begin(group, formats.ATLAS)
    group.create_array("a/x", shape=(3,), dtype="i4")
    tables.finish(group.store, formats.ATLAS, {"seed": 1})
    metadata = json.loads((tmp_path / "s.zarr/zarr.json").read_text())
    assert set(metadata["consolidated_metadata"]["metadata"]) == {"a", "a/x"}
    assert metadata["attributes"]["complete"] is True


def test_a_column_in_the_place_of_another_is_seen(tmp_path):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_table(
        group, "var", pd.DataFrame({"start": [1, 2], "end": [3, 4]}, index=["p", "q"])
    )
    start, end = (tmp_path / "s.zarr" / "var" / name / "c" / "0" for name in ("start", "end"))
    kept = start.read_bytes()
    start.write_bytes(end.read_bytes())
    end.write_bytes(kept)
    with pytest.raises(CorruptStoreError, match="not those that were written"):
        tables.read_table(group, "var", url=str(tmp_path / "s.zarr"))


def test_a_table_of_somebody_else_is_read(tmp_path):
    group = urls.create_group(tmp_path / "s.zarr")
    tables.write_element(group, "obs", pd.DataFrame({"n": [1, 2]}, index=["p", "q"]))
    assert list(tables.read_table(group, "obs", url=str(tmp_path / "s.zarr"))["n"]) == [1, 2]
