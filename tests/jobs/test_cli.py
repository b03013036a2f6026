"""The program's outside: verbs, help, start-up, names and defaults."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

import atlasbasset as platform_package
import atlasstore
from atlasjobs.cli import app
from atlasstore.simulation import SimulationConfig

if TYPE_CHECKING:
    from .conftest import Atlasbasset

VERBS = [
    "demo",
    "simulate",
    "preprocess",
    "inspect",
    "train",
    "map",
    "embed",
    "evaluate",
    "denoise",
    "import-weights",
    "export-weights",
]
OWN = {"dry_run", "json", "config", "debug"}
"""Parameters of the command line alone."""


def parameters(verb: str) -> dict[str, Any]:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    return {param.name: param for param in command.params if param.name != "help"}


def test_the_verbs_are_those_of_the_design(atlasbasset: Atlasbasset) -> None:
    assert list(typer.main.get_command(app).commands) == VERBS  # type: ignore[attr-defined]
    shown = atlasbasset("--help")
    assert shown.code == 0
    assert all(verb in shown.out for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_describes_every_option(verb: str, atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset(verb, "--help")
    assert shown.code == 0
    for param in parameters(verb).values():
        assert param.help, f"{verb} {param.name} has no help"
        assert all(option in shown.out for option in param.opts if option.startswith("--"))


def test_help_shows_units_and_defaults(atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset("preprocess", "--help").out
    assert "bp" in shown
    assert "1344" in shown
    assert "0.01" in shown


def test_version(atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset("--version")
    assert shown.code == 0
    assert shown.out.startswith("atlasbasset ")


def test_a_bare_call_shows_the_help_and_is_a_usage_error(atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset()
    assert shown.code == 2
    assert "preprocess" in shown.out + shown.err


def test_starting_up_imports_no_heavy_package() -> None:
    script = (
        "import sys, atlasjobs.cli\n"
        "heavy = {'torch', 'ray', 'anndata', 'zarr', 'pandas', 'numpy', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["embed", "evaluate", "denoise", "import-weights", "train"])
def test_names_and_defaults_are_the_python_functions(verb: str) -> None:
    function = getattr(platform_package, verb.replace("-", "_"))
    expected = {
        name: None if p.default is inspect.Parameter.empty else p.default
        for name, p in inspect.signature(function).parameters.items()
        if name not in {"on_event", "config"}
    }
    if verb == "train":
        recipe = {f.name: f.default for f in fields(platform_package.TrainConfig)}
        expected |= {name: value for name, value in recipe.items() if value is not MISSING}
        expected.pop("trunk", None)
    found = {n: p.default for n, p in parameters(verb).items() if n not in OWN}
    assert {name: _plain(value) for name, value in found.items()} == {
        name: _plain(value) for name, value in expected.items()
    }


def test_preprocess_has_the_python_functions_names_and_defaults() -> None:
    signature = inspect.signature(atlasstore.preprocess).parameters
    found = {n: p.default for n, p in parameters("preprocess").items() if n not in OWN}
    assert set(found) == set(signature) - {"on_event", "dry_run"}
    for name, value in found.items():
        default = signature[name].default
        empty = default is inspect.Parameter.empty or default == ()
        assert _plain(value) == (None if empty else _plain(default)), name


def test_simulate_has_the_python_functions_dials() -> None:
    found = {n: p.default for n, p in parameters("simulate").items() if n not in OWN | {"out"}}
    dials = {f.name: f.default for f in fields(SimulationConfig)}
    shortened = ("n_cells", "n_peaks", "n_cell_types", "n_batches")
    names = {name: name.removeprefix("n_") if name in shortened else name for name in dials}
    assert found == {names[name]: value for name, value in dials.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
