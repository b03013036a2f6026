"""Optional packages: not there, or there and broken."""

from __future__ import annotations

import pytest

from atlasbasset.extras import needed
from atlasstore.errors import MissingExtraError


def ask(module: str) -> str:
    with pytest.raises(MissingExtraError) as told:
        needed(module, extra="interpret", purpose="Testing")
    return str(told.value)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Packages that exist: one lacks another one, one raises."""
    for name, text in {
        "lacks_other_xyz": "import other_xyz_that_is_not_there\n",
        "raises_xyz": "raise ImportError('libxyz.so: cannot open\\n  shared object.')\n",
        "whole_xyz": "answer = 42\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("module", ["absent_xyz", "absent_xyz.part"])
def test_what_is_not_installed(module):
    assert ask(module) == (
        "Testing needs absent_xyz, which is not installed; run: pip install "
        "'logomaker>=0.8.7' 'memelite>=0.5' 'modisco-lite>=2.4'."
    )


def test_what_is_broken_is_not_called_missing(packages):
    lacks = ask("lacks_other_xyz")
    assert "is installed but cannot be imported (No module named 'other_xyz_that" in lacks
    assert "pip install --upgrade 'logomaker>=0.8.7' " in lacks
    raises = ask("raises_xyz")
    assert "(libxyz.so: cannot open shared object)" in raises
    assert "not installed" not in lacks + raises


def test_what_is_there(packages):
    assert needed("whole_xyz", extra="interpret", purpose="Testing").answer == 42
