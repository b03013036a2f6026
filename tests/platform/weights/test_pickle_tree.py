from __future__ import annotations

import collections
import io
import os
import pickletools
import zipfile
from pickle import dumps  # noqa: TID251 - makes files; the reader never uses it

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atlasbasset.weights.pickle_tree import Call, Name, Persistent, read_pickle_tree

_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(_plain, st.integers(3, 5))
def test_plain_values_come_back(value, protocol):
    assert read_pickle_tree(dumps(value, protocol)) == value


def test_protocol_2():
    value = {"a": [1, 2.5, (True, None)], "b": ("x",), 3: {}}
    assert read_pickle_tree(dumps(value, 2)) == value


def test_calls_and_names_are_noted_not_made(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    for protocol in (2, 4):
        noted = read_pickle_tree(dumps([Harm(), collections.OrderedDict(a=1)], protocol))
        assert isinstance(noted[0], Call)
        assert noted[0].function in (Name("posix.mkdir"), Name("nt.mkdir"))
        assert noted[0].args == (str(tmp_path / "made"),)
        assert noted[1].function == Name("collections.OrderedDict")
        assert noted[1].items == {"a": 1}
    assert list(tmp_path.iterdir()) == []


def test_state_is_noted():
    found = read_pickle_tree(dumps(np.array(["x", "yy"], dtype=object), 2))
    assert found.state[4] == ["x", "yy"]


def test_references_to_bytes_elsewhere():
    file = io.BytesIO()
    torch.save({"w": torch.arange(3.0)}, file)
    with zipfile.ZipFile(file) as zipped:
        name = next(n for n in zipped.namelist() if n.endswith("data.pkl"))
        found = read_pickle_tree(zipped.read(name))["w"]
    assert isinstance(found.args[0], Persistent)
    assert found.args[0].key[1] == Name("torch.FloatStorage")


@given(st.binary(max_size=40))
def test_noise_is_refused_in_one_way(content):
    try:
        read_pickle_tree(content)
    except ValueError:
        return


@given(st.data())
def test_damage_is_refused_in_one_way(data):
    content = bytearray(dumps({"a": [1, (2, "x")], "b": np.dtype("f4")}, 2))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] = data.draw(st.integers(0, 255))
    try:
        read_pickle_tree(bytes(content))
    except ValueError:
        return


def test_other_instructions_are_refused():
    content = b"\x80\x02cos\nsystem\nX\x01\x00\x00\x00xi" + b"os\nsystem\n."
    assert any(op.name == "INST" for op, _, _ in pickletools.genops(content))
    with pytest.raises(ValueError, match="cannot be read as data"):
        read_pickle_tree(content)
