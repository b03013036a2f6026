"""Which tests run in one process, and that those which take longest are sent first."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from side_by_side import FIRST, TOGETHER, FilesTogether, longest_first, unit_of

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_what_is_named_is_there():
    files = [*TOGETHER, *(name for name in FIRST if name not in TOGETHER.values())]
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_a_file_or_files_that_share_are_one_unit():
    assert unit_of("tests/test_docs.py::test_a[x::y]") == "tests/test_docs.py"
    one, other = [f"{file}::test" for file in TOGETHER][:2]
    assert unit_of(one) == unit_of(other) == "S3"


def test_the_tests_of_this_run_are_sent_so(request: pytest.FixtureRequest):
    hook = request.config.hook.pytest_xdist_make_scheduler
    option = SimpleNamespace(loadscopereorder=True, tx=["popen"])
    config = SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))
    assert isinstance(hook(config=config, log=None), FilesTogether)
    assert option.loadscopereorder is False


def test_what_takes_longest_comes_first():
    names = ["tests/a.py::x", f"{FIRST[2]}::b", f"{FIRST[2]}::a", f"{FIRST[0]}::z"]
    items = [SimpleNamespace(nodeid=name) for name in names]
    longest_first(items)
    assert [item.nodeid for item in items] == [names[3], names[1], names[2], names[0]]
