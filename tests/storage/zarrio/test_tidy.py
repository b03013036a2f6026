"""Every kind of column a person's table may have, alone and put together with every other."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import uuid

import numpy as np
import pandas as pd
import pytest

from atlasstore.files import urls
from atlasstore.zarrio import formats, tables
from atlasstore.zarrio.tidy import set_aside, stack, tidy, with_legal_names

KINDS = {
    "bool": [True, False, True],
    "int8": np.array([1, 2, 3], np.int8),
    "uint64": np.array([1, 2, 2**64 - 1], np.uint64),
    "big-endian": np.array([1, 2, 3], ">i4"),
    "big-endian float": np.array([0.5, np.nan, 2], ">f8"),
    "float": [0.5, np.nan, 2.0],
    "float16": np.array([0.5, 1, 2], np.float16),
    "longdouble": np.array([0.5, 1, 2], np.longdouble),
    "complex": np.array([1j, 2, 3]),
    "Int64": pd.array([1, None, 3], dtype="Int64"),
    "Float32": pd.array([1.5, None, 3], dtype="Float32"),
    "boolean": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["x", None, "z"], dtype="string"),
    "text": np.array(["x", "y", None], object),
    "mixed": np.array([1, "two", None], object),
    "true and one": np.array([True, 1, "1"], object),
    "huge": np.array([10**30, 1, None], object),
    "lists": np.array([[1], [2], None], object),
    "bytes": np.array([b"x", b"\xff", None], object),
    "surrogate": np.array(["\ud800", "a\0b", ""], object),
    "decimal": np.array([decimal.Decimal("1.5"), None, 2], object),
    "dates": np.array([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], object),
    "datetime": pd.to_datetime(["2020-01-01", None, "2020-01-02"]),
    "zoned": pd.to_datetime(["2020-01-01", None, "2020-01-02"], utc=True),
    "timedelta": pd.to_timedelta([1, None, 3], unit="s"),
    "period": pd.period_range("2020-01", periods=3, freq="M"),
    "interval": pd.interval_range(0, 3),
    "sparse": pd.arrays.SparseArray([0, 0, 1]),
    "nothing": np.array([None, None, None], object),
    "category": pd.Categorical(["b", "a", None]),
    "ordered": pd.Categorical(["low", "high", "low"], categories=["low", "high"], ordered=True),
    "category of int": pd.Categorical([3, 1, 3]),
    "category of bool": pd.Categorical([True, False, True]),
    "category of dates": pd.Categorical(pd.to_datetime(["2020-01-01", "2020-01-02", None])),
    "category of intervals": pd.cut([1, 2, 3], 2),
    "category of both": pd.Categorical([1, "1", None], categories=[1, "1"]),
    "category of string": pd.Categorical(pd.array(["x", "y", None], dtype="string")),
}


def stored(table: pd.DataFrame) -> pd.DataFrame:
    url = f"memory://tidy/{uuid.uuid4().hex}"
    group = urls.create_group(url)
    tables.write_table(group, "obs", table)
    tables.finish(group.store, formats.ATLAS, {})
    read = tables.read_table(urls.open_group(url), "obs", url=url)
    urls.delete(url)
    return read


def text_of(value) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    return str(value).encode("utf-8", "backslashreplace").decode().replace("\0", "")


def same(was, now) -> bool:
    if pd.isna(now):
        return not isinstance(was, (list, str, bytes)) and bool(pd.isna(was))
    if isinstance(was, (list, complex)) or isinstance(now, str):
        return text_of(was) == now
    return float(was) == float(now)


def is_storable(dtype) -> bool:
    """One of the dtypes that the test of each kind by itself wrote and read."""
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
        return dtype.kind in "Obiuf"
    if isinstance(dtype, np.dtype):
        return dtype.kind in "biuf" and dtype.itemsize <= 8
    return isinstance(dtype, (pd.BooleanDtype, pd.Int64Dtype, pd.UInt64Dtype))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_column_keeps_its_values(kind):
    column = pd.Series(KINDS[kind])
    now = stored(pd.DataFrame({"column": column}))["column"]
    assert all(same(a, b) for a, b in zip(column, now, strict=True)), list(now)


def test_every_two_kinds_are_one_column_of_two_samples():
    for one, other in itertools.product(KINDS, KINDS):
        parts = [pd.DataFrame({"column": pd.Series(KINDS[kind])}) for kind in (one, other)]
        joined = stack(parts)
        now = tidy(joined).table["column"]
        wrong = [(a, b) for a, b in zip(joined["column"], now, strict=True) if not same(a, b)]
        assert not wrong, (one, other, wrong)
        assert is_storable(now.dtype), (one, other, now.dtype)


def test_numbers_and_booleans_are_one_column_of_floats():
    column = pd.Series([True, False, 0.5, np.nan], dtype=object)
    now = tidy(pd.DataFrame({"doublet": column})).table["doublet"]
    assert now.dtype == np.float64
    np.testing.assert_array_equal(now, [1, 0, 0.5, np.nan])


def test_an_order_of_categories_is_kept():
    now = stored(pd.DataFrame({"dose": KINDS["ordered"]}))["dose"]
    assert now.cat.ordered
    assert list(now.cat.categories) == ["low", "high"]


@pytest.mark.parametrize(
    ("given", "stored_as"),
    [
        (["cell/type"], ["cell_type"]),
        (["cell/type", "cell_type"], ["cell_type_2", "cell_type"]),
        (["_index"], ["input_index"]),
        (["a", "a"], ["a", "a_2"]),
        ([1, "1"], ["1_2", "1"]),
        ([("x", "y")], ["('x', 'y')"]),
        (["", ".", "..", "zarr.json"], ["input__2", "input__3", "input_", "input_zarr.json"]),
        (["a\nb", "\ud800", "\\"], ["a_b", "_ud800", "_"]),
        (["__x"], ["input__x"]),
        (["x" * 300], ["x" * 200]),
        (["Sample", "sample"], ["Sample_2", "sample"]),
        (["STUDY", "Study"], ["STUDY", "Study_2"]),
        (["K", "\u212a"], ["K", "\u212a_2"]),  # the Kelvin sign is a K
    ],
)
def test_names_that_cannot_be_stored_get_free_ones(given, stored_as):
    table = pd.DataFrame([range(len(given))] * 2)
    table.columns = pd.Index(given, dtype=object, tupleize_cols=False)
    made = tidy(table)
    assert list(made.table.columns) == stored_as
    assert list(made.table.iloc[0]) == list(range(len(given)))
    assert len(made.notices) == sum(str(a) != b for a, b in zip(given, stored_as, strict=True))
    assert list(stored(table).iloc[0]) == list(range(len(given)))


def test_names_alike_but_for_case_come_back_as_they_were():
    table = pd.DataFrame({"Sample": ["u", "v"], "sample": ["x", "y"]})
    now = stored(table)
    assert list(now.columns) == ["Sample", "sample"]
    assert now["Sample"].tolist() == ["u", "v"]
    assert now["sample"].tolist() == ["x", "y"]


def test_the_index_keeps_its_name_where_it_can():
    for name, kept in (("barcode", "barcode"), ("cell/id", None), ("A", None), (3, None)):
        table = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["p", "q"], name=name))
        assert stored(table).index.name == kept


def test_set_aside_never_loses_a_column():
    table = pd.DataFrame({"n_peaks": [1], "input_n_peaks": [2]})
    moved = set_aside(table, "n_peaks")
    assert moved.to_dict("list") == {"input_input_n_peaks": [1], "input_n_peaks": [2]}
    assert list(set_aside(table, "other").columns) == list(table.columns)


def test_legal_names_leave_the_table_alone():
    table = pd.DataFrame({"a/b": [1]})
    renamed, told = with_legal_names(table)
    assert list(table.columns) == ["a/b"]
    assert list(renamed.columns) == ["a_b"]
    assert len(told) == 1
