"""JSON from files: what cannot be read is a ValueError, however it is wrong."""

from __future__ import annotations

import pytest

from atlasstore.files.json_text import parsed_json


@pytest.mark.parametrize("text", ['{"a": [1, null]}', b'{"a": [1, null]}'], ids=["text", "bytes"])
def test_text_and_bytes(text):
    assert parsed_json(text) == {"a": [1, None]}


@pytest.mark.parametrize(
    "text", ["", "{", b"\xff\xfe\xff", "[" * 200_000], ids=["empty", "cut", "no text", "deep"]
)
def test_what_cannot_be_read_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parsed_json(text)
