"""Compiling is told, once and only where it happens; what is compiled is kept, wherever we are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atlasbasset.engine.compilation import COMPILING
from atlasbasset.engine.labels import _sort_by_cell

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import numba, numpy as np, {module} as kernels
from atlasbasset.engine.compilation import telling_compilation
told = []
with telling_compilation(lambda event: told.append(event.message)):
    for _ in range(2):
        rows = np.arange(2)
        kernels.pairs_by_cell(np.array([0, 1, 2]), np.zeros(2, np.uint16), rows, np.arange(1))
print(len(told), *set(told))
"""


def told(folder: Path, module: str, **environment: str) -> str:
    """Return what a process of its own tells of compiling, of a module in `folder`."""
    names = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module), str(folder)],
        env=names | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_compiling_is_told_once_and_what_is_kept_is_not_compiled(tmp_path: Path) -> None:
    place, module = {"NUMBA_CACHE_DIR": str(tmp_path)}, _sort_by_cell.__name__
    assert told(tmp_path, module, **place) == f"1 {COMPILING}"
    assert told(tmp_path, module, **place) == "0"


@pytest.mark.parametrize("is_writable", [True, False])
def test_an_installation_that_cannot_be_written_to_keeps_its_kernels_in_the_users_cache(
    tmp_path: Path, is_writable: bool
) -> None:
    installed, cache = tmp_path / "installed", tmp_path / "cache"
    installed.mkdir()
    shutil.copy(str(_sort_by_cell.__file__), installed / "kernels.py")
    if not is_writable:  # a file in the folder's place holds for root too
        (installed / "__pycache__").write_text("")
    place = {"XDG_CACHE_HOME": str(cache)}
    assert told(installed, "kernels", **place) == f"1 {COMPILING}"
    kept = list(cache.rglob("*.nbi"))
    assert len(kept) == (0 if is_writable else 2)
    assert all(path.is_relative_to(cache / "numba") for path in kept)
    assert told(installed, "kernels", **place) == "0"
