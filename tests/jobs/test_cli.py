"""The program's outside: verbs, help, start-up, names and defaults."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
import rich.markup
import typer.main

import atlasbasset as platform_package
import atlasstore
from atlasbasset.engine import config as engine_config
from atlasbasset.engine.config import TrainConfig
from atlasjobs import cli
from atlasjobs.cli import app
from atlasjobs.options import recipe as recipe_options
from atlasjobs.options.recipe import differences, recipe_values, setting_text
from atlasstore.simulation import SimulationConfig

if TYPE_CHECKING:
    from command import Atlasbasset

VERBS = [
    "demo",
    "simulate",
    "preprocess",
    "inspect",
    "train",
    "watch",
    "map",
    "embed",
    "annotate",
    "evaluate",
    "denoise",
    "motifs",
    "ism",
    "match",
    "discover",
    "variants",
    "differential",
    "tracks",
    "report",
    "import-weights",
    "export-weights",
    "list",
    "copy",
    "export",
    "card",
    "catalog",
    "push",
    "pull",
    "submit",
    "status",
    "logs",
    "stop",
    "resources",
]
OWN = {"dry_run", "json", "config", "debug", "log_to"}
"""Parameters of the command line alone."""
DECIDED_ELSEWHERE = {"trunk", "group_peaks"}
"""Settings that are no options: an atlas or model has the one, memory decides the other."""


def parameters(verb: str) -> dict[str, Any]:
    command = typer.main.get_group(app).commands[verb]
    return {param.name: param for param in command.params if param.name != "help"}


def test_the_verbs_are_those_of_the_design(atlasbasset: Atlasbasset) -> None:
    assert list(typer.main.get_group(app).commands) == VERBS
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


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_shown_as_it_is_written(
    verb: str, atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    shown = atlasbasset(verb, "--help").out
    for hint in get_type_hints(cli._VERBS[verb], include_extras=True).values():
        for option in getattr(hint, "__metadata__", ()):
            assert option.help in shown


def test_the_help_of_settings_is_shown_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_options, "_help", lambda *_: "Of this [the recipe's].")
    shown = {rich.markup.render(option.help).plain for option in recipe_options._setting_options()}
    assert shown == {"Of this [the recipe's]."}


def test_help_shows_units_and_defaults(atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset("preprocess", "--help").out
    assert "bp" in shown
    assert "1344" in shown
    assert "0.01" in shown


def test_help_shows_what_each_recipe_uses(
    atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"fast": {}, "paper": {"epochs": 77, "final_solve": False}}
    monkeypatch.setattr(engine_config, "RECIPES", changed)
    shown = " ".join(atlasbasset("train", "--help").out.replace("\u2502", " ").split())
    assert "fast 0, paper 77" in shown
    assert "fast yes, paper no" in shown
    assert "They differ in epochs, final-solve." in shown


def test_the_page_on_training_shows_what_each_recipe_uses() -> None:
    values = recipe_values()
    wanted = "\n".join(
        f"| `--{name.replace('_', '-')}` | {setting_text(values[name]['fast'])} "
        f"| {setting_text(values[name]['paper'])} |"
        for name in differences()
    )
    page = (Path(__file__).parents[2] / "docs" / "train.md").read_text()
    assert f"| setting | fast | paper |\n|---|---|---|\n{wanted}\n\n" in page, (
        f"docs/train.md needs this table:\n{wanted}"
    )


def test_only_what_is_given_changes_the_recipe(
    tiny: Path, tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    def settings(*options: object) -> dict[str, Any]:
        given = (tiny / "atlas.zarr", "--out", tmp_path / "m", "--dry-run", "--json", "-")
        done = atlasbasset("train", *given, *options)
        assert done.code == 0, done.err
        return dict(json.loads(done.out)["config"])

    trunk = settings()["trunk"]
    for recipe in ("fast", "paper"):
        plain = TrainConfig.recipe(recipe).with_epochs(40).as_json() | {"trunk": trunk}
        assert settings("--recipe", recipe) == plain
        changed = settings(
            "--recipe", recipe, "--no-final-solve", "--average", 0, "--solve-every", 3
        )
        assert changed == plain | {"final_solve": False, "solve_every": 3}
    assert settings("--cells-per-step", 9)["cells_per_step"] == 9
    assert settings("--no-polish")["final_solve"] is False, "the option's former name"


def test_training_from_another_models_trunk(
    trained: Path, tmp_path: Path, atlasbasset: Atlasbasset
) -> None:
    given = (trained / "atlas.zarr", "--out", tmp_path / "m", "--dry-run", "--json", "-")
    begin = ("--init-from", trained / "model.zarr")
    done = atlasbasset("train", *given, *begin, "--freeze-epochs", 2)
    assert done.code == 0, done.err
    found = json.loads(done.out)["config"]
    assert (found["cell_start"], found["freeze_epochs"]) == ("solve", 2)
    assert found["init_from"] == str(trained / "model.zarr")
    done = atlasbasset("train", *given, *begin, "--cell-start", "random")
    assert json.loads(done.out)["config"]["cell_start"] == "random"
    done = atlasbasset("train", *given, "--init-from", trained / "atlas.zarr")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "m").exists()


def test_version(atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset("--version")
    assert shown.code == 0
    assert shown.out.startswith("atlasbasset ")


def test_a_bare_call_shows_the_help_and_is_a_usage_error(atlasbasset: Atlasbasset) -> None:
    shown = atlasbasset()
    assert shown.code == 2
    assert "preprocess" in shown.out + shown.err


@pytest.mark.parametrize(
    "verb",
    [
        "embed",
        "evaluate",
        "denoise",
        "motifs",
        "match",
        "discover",
        "variants",
        "import-weights",
        "train",
    ],
)
def test_names_and_defaults_are_the_python_functions(verb: str) -> None:
    function = getattr(platform_package, verb.replace("-", "_"))
    expected = {
        name: None if p.default is inspect.Parameter.empty else p.default
        for name, p in inspect.signature(function).parameters.items()
        if name not in {"on_event", "config"}
    }
    if verb == "train":  # a setting that is not given is the recipe's
        names = {field.name for field in fields(platform_package.TrainConfig)}
        expected |= dict.fromkeys(names - DECIDED_ELSEWHERE)
    found = {n: p.default for n, p in parameters(verb).items() if n not in OWN}
    assert {name: _plain(value) for name, value in found.items()} == {
        name: _plain(value) for name, value in expected.items()
    }


def test_preprocess_has_the_python_functions_names_and_defaults() -> None:
    signature = inspect.signature(atlasstore.preprocess).parameters
    found = {n: p.default for n, p in parameters("preprocess").items() if n not in OWN}
    assert found.pop("append") is False  # `atlasstore.append` in Python
    assert found.pop("workers") == 0  # `atlasbasset.preprocess`; storage takes an executor
    assert set(found) == set(signature) - {"on_event", "dry_run", "executor"}
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


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is absent")
@pytest.mark.parametrize(
    ("words", "offered"),
    [("tr", "train tracks"), ("motifs --n-b", "--n-backgrounds"), ("train --recipe p", "paper")],
)
def test_bash_completes(words: str, offered: str) -> None:
    script = (
        'eval "$(_ATLASBASSET_COMPLETE=source_bash atlasbasset)"; '
        f"COMP_WORDS=(atlasbasset {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); "
        '_atlasbasset_completion atlasbasset; echo "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == offered.split()
