from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from atlasjobs.output.json_output import as_text, plain, write


def test_what_json_lacks_becomes_what_it_has() -> None:
    values = {
        1: float("nan"),
        "inf": float("inf"),
        "array": np.array([1.5, np.nan], np.float32),
        "integer": np.int64(3),
        "flag": np.bool_(True),
        "path": Path("a/b"),
        "nothing": None,
        "nested": [{"x": (1, 2)}],
    }
    assert json.loads(as_text(values)) == {
        "1": None,
        "inf": None,
        "array": [1.5, None],
        "integer": 3,
        "flag": True,
        "path": "a/b",
        "nothing": None,
        "nested": [{"x": [1, 2]}],
    }
    assert plain(True) is True


def test_write_to_a_file_and_to_standard_output(tmp_path: Path) -> None:
    stdout = io.StringIO()
    write({"a": 1}, str(tmp_path / "new" / "a.json"), stdout=stdout)
    assert stdout.getvalue() == ""
    write({"a": 1}, "-", stdout=stdout)
    assert stdout.getvalue() == (tmp_path / "new" / "a.json").read_text() == '{\n  "a": 1\n}\n'
