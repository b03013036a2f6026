"""`constraints.txt` against the package index: what pip would install, nothing installed.

For every supported Python on this machine, once with the torch of the public index, which
requires a certain triton, and once as the Makefile installs it, with whatever torch pip prefers
(one without CUDA, where it is offered, requires no triton). Wheels only: nothing is compiled.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
VERSIONS = ("3.11", "3.12", "3.13")
OWN = {"atlasbasset"}
TORCHS_OWN = ("cuda-", "nvidia-")  # torch pins these itself


def constraints(python: str) -> dict[str, str]:
    """Versions by package, for a Python such as "3.12"."""
    lines = CONSTRAINTS.read_text().splitlines()
    given = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = {"python_version": python}
    valid = [one for one in given if one.marker is None or one.marker.evaluate(here)]
    pinned = {
        str(canonicalize_name(one.name)): str(one.specifier).removeprefix("==") for one in valid
    }
    assert len(pinned) == len(valid), "a package is pinned twice"
    return pinned


@pytest.mark.parametrize("python", VERSIONS)
def test_every_package_is_pinned_once(python: str) -> None:
    assert len(constraints(python)) > 150


def test_hooks_have_the_versions_that_are_pinned() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    given = {word for hook in hooks for word in hook["additional_dependencies"]}
    pinned = constraints(VERSIONS[0])
    assert {f"{tool}=={pinned[tool]}" for tool in ("ruff", "codespell")} <= given


def test_every_supported_python_is_tested_and_named() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == list(VERSIONS)
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = [one.removeprefix("Programming Language :: Python :: ") for one in classifiers]
    assert [one for one in named if one.startswith("3.")] == list(VERSIONS)


def runs(path: str | Path) -> bool:
    asked = [str(path), "-c", "import ensurepip"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def interpreter(python: str) -> str | None:
    """Find a Python on the PATH or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{python}"), *pyenv.glob(f"{python}.*/bin/python{python}")]
    return next((str(path) for path in found if path and runs(path)), None)


class Pip(NamedTuple):
    """A pip and the Python that it installs for."""

    python: str
    path: Path


@pytest.fixture(scope="module", params=VERSIONS)
def pip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pip:
    """Return a recent pip, which reads metadata where an older one loads gigabytes of wheels."""
    base = interpreter(request.param)
    if base is None:
        pytest.skip(f"Python {request.param} is not on this machine")
    folder = tmp_path_factory.mktemp(f"python{request.param}")
    subprocess.run([base, "-m", "venv", folder], check=True)
    newer = [folder / "bin/pip", "install", "--quiet", "--upgrade", "pip"]
    done = subprocess.run(newer, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no package index is reached: {done.stderr.strip().splitlines()[-1]}")
    return Pip(request.param, folder / "bin/pip")


def resolved(pip: Pip, *wanted: str) -> dict[str, str]:
    """Versions by package that pip would install."""
    report = pip.path.parent / "report.json"
    options = ["--quiet", "--dry-run", "--ignore-installed", "--only-binary", ":all:"]
    under = ["--constraint", str(CONSTRAINTS), "--report", str(report)]
    done = subprocess.run(
        [pip.path, "install", *options, *under, *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [one["metadata"] for one in json.loads(report.read_text())["install"]]
    return {canonicalize_name(one["name"]): one["version"] for one in found}


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)
@pytest.mark.parametrize("torch", ["torch", "torch==={}"], ids=["as_make_does", "public_torch"])
def test_what_is_pinned_is_what_pip_takes(pip: Pip, torch: str) -> None:
    pinned = constraints(pip.python)
    found = resolved(pip, torch.format(pinned["torch"]), ".[dev,docs]")
    of_others = {
        name: version.removesuffix("+cpu")
        for name, version in found.items()
        if name not in OWN and not name.startswith(TORCHS_OWN)
    }
    assert of_others == {name: pinned.get(name) for name in of_others}
    assert {"torch", "triton", "anndata", "zarr"} <= set(of_others)
