from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atlasstore.zarrio.table_digest import table_digest


def a_table(**changed):
    columns = {
        "start": np.array([1, 2, 3], np.int32),
        "end": np.array([4, 5, 6], np.int32),
        "kind": pd.Categorical(["a", "b", None], categories=["a", "b"]),
        "flag": pd.array([True, None, False], dtype="boolean"),
        "text": np.array(["x", None, "z"], object),
    }
    return pd.DataFrame(columns | changed, index=pd.Index(["p", "q", "r"]))


@pytest.mark.parametrize(
    "changed",
    [
        {"start": np.array([1, 2, 4], np.int32)},
        {"start": np.array([4, 5, 6], np.int32), "end": np.array([1, 2, 3], np.int32)},
        {"start": np.array([1, 2, 3], np.float32)},
        {"kind": pd.Categorical(["b", "a", None], categories=["a", "b"])},
        {"kind": pd.Categorical(["a", "b", None], categories=["a", "b", "c"])},
        {"flag": pd.array([True, False, False], dtype="boolean")},
        {"text": np.array(["x", "", "z"], object)},
        {"text": np.array(["x", "None", "z"], object)},
    ],
    ids=["value", "swapped", "type", "code", "categories", "missing", "empty text", "text None"],
)
def test_another_value_has_another_digest(changed):
    assert table_digest(a_table(**changed)) != table_digest(a_table())


def test_so_have_other_names_another_order_and_other_rows():
    table = a_table()
    others = [
        table.rename(columns={"start": "end", "end": "start"}),
        table[["end", "start", "kind", "flag", "text"]],
        table.rename(index={"p": "o"}),
        table.iloc[::-1],
        table.iloc[:2],
        table[["start"]],
    ]
    assert len({table_digest(t) for t in (table, *others)}) == 1 + len(others)


def test_how_text_is_held_does_not_matter():
    as_string = a_table(text=pd.array(["x", None, "z"], dtype="string"))
    as_string["kind"] = pd.Categorical(
        ["a", "b", None], categories=pd.Index(["a", "b"], dtype="string")
    )
    as_string.index = as_string.index.astype("string")
    assert table_digest(as_string) == table_digest(a_table())


def test_an_empty_table_has_one():
    assert table_digest(a_table().iloc[:0]) == table_digest(a_table().iloc[:0])
    assert len(table_digest(pd.DataFrame(index=pd.Index([], dtype=object)))) == 32
