"""The packages are laid out as `docs/architecture.md` says, and shadow nothing of Python's own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {"storage": "atlasstore", "platform": "atlasbasset", "jobs": "atlasjobs"}


def modules() -> list[Path]:
    found = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(found) > 50
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_holds_its_package_and_nothing_else(room: str) -> None:
    names = {path.name for path in (ROOT / room).iterdir() if path.name != "__pycache__"}
    assert names == {ROOMS[room]}
    assert (ROOT / room / ROOMS[room] / "__init__.py").is_file()
    assert (ROOT / room / ROOMS[room] / "py.typed").is_file()


def test_every_folder_of_a_package_is_a_regular_package() -> None:
    folders = {path.parent for path in modules()}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_pythons_own_platform_is_found_from_the_root() -> None:
    script = "import platform; print(platform.system())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()


def test_no_module_is_named_like_a_standard_one() -> None:
    taken = sys.stdlib_module_names
    clashes = [path for path in modules() if path.stem in taken or path.parent.name in taken]
    assert clashes == []


def test_the_wheel_holds_the_three_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    targets = project["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["packages"] == [f"{room}/{name}" for room, name in ROOMS.items()]
    assert project["tool"]["hatch"]["build"]["dev-mode-dirs"] == list(ROOMS)
    assert project["project"]["scripts"] == {"atlasbasset": "atlasjobs.cli:main"}


@pytest.mark.parametrize("package", ROOMS.values())
def test_a_package_is_imported_from_its_room(package: str) -> None:
    script = f"import {package}; print({package}.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    room = next(room for room, name in ROOMS.items() if name == package)
    assert Path(done.stdout.strip()).parent == ROOT / room / package
