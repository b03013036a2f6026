"""``submit --as``: each option of `submit` has its effect on what is printed, or is refused."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
import yaml

from atlasjobs.cli import app
from atlasjobs.cluster_job import _NOT_IN_A_FILE

if TYPE_CHECKING:
    from pathlib import Path

    from command import Atlasbasset, Run

TRAIN = ("--", "train", "s3://b/a.zarr", "--out", "s3://b/m.zarr", "--workers", "4")
KINDS = ("rayjob", "slurm")
HAVE_AN_EFFECT = {"words", "as_", "wait", "env", "config", "debug"}


def variables(manifest: str) -> dict[str, Any]:
    (job,) = (one for one in yaml.safe_load_all(manifest) if one["kind"] == "RayJob")
    found: dict[str, Any] = yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]
    return found


def test_every_option_is_used_or_refused():
    options = {param.name for param in typer.main.get_group(app).commands["submit"].params}
    assert options == HAVE_AN_EFFECT | set(_NOT_IN_A_FILE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "option",
    [
        *(("--credentials",), ("--detach",), ("--again",)),
        *(("--address", "http://h:8265"), ("--json", "-")),
        *(("--cpus", 4), ("--gpus", 0)),
    ],
)
def test_an_option_without_effect_is_refused(
    atlasbasset: Atlasbasset, kind: str, option: tuple[Any, ...]
) -> None:
    done = atlasbasset("submit", "--as", kind, *option, *TRAIN)
    assert (done.code, done.out) == (2, "")
    assert f"{option[0]} has no effect with --as {kind}: " in said(done)


def said(done: Run) -> str:
    return " ".join(done.err.split())


def test_a_wheel_must_be_one_and_belongs_into_the_image(
    atlasbasset: Atlasbasset, tmp_path: Path
) -> None:
    none = atlasbasset("submit", "--as", "rayjob", "--wheel", "none.whl", *TRAIN)
    assert none.code == 2
    assert "none.whl is no wheel" in said(none)
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a.py", "")
    done = atlasbasset("submit", "--as", "rayjob", "--wheel", wheel, *TRAIN)
    assert done.code == 2
    assert "install the wheel in their image" in said(done)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_given_to_wait_is_waited(atlasbasset: Atlasbasset, kind: str) -> None:
    assert " --wait 1200 -- train" in atlasbasset("submit", "--as", kind, *TRAIN).out
    given = atlasbasset("submit", "--as", kind, "--wait", 600, *TRAIN)
    assert " --wait 600 -- train" in given.out


def test_a_file_of_options_counts_as_given(atlasbasset: Atlasbasset, tmp_path: Path) -> None:
    (tmp_path / "submit.toml").write_text("wait = 60.0\n")
    config = ("--config", tmp_path / "submit.toml")
    assert " --wait 60 --" in atlasbasset("submit", *config, "--as", "rayjob", *TRAIN).out
    (tmp_path / "submit.toml").write_text("credentials = true\n")
    assert atlasbasset("submit", *config, "--as", "rayjob", *TRAIN).code == 2


def test_variables_are_in_the_file(
    atlasbasset: Atlasbasset, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = 'it\'s a "b": {c}, #d\n\u00e9 \U0001f600'
    monkeypatch.setenv("MINE", value)
    monkeypatch.setenv("AWS_REGION", "not asked for")
    done = atlasbasset("submit", "--as", "rayjob", "--env", "MINE", *TRAIN)
    assert variables(done.out) == {"RAY_JOB_STOP_WAIT_TIME_S": "40", "MINE": value}
    monkeypatch.setenv("MINE", "a 'b' $c")
    script = atlasbasset("submit", "--as", "slurm", "--env", "MINE", *TRAIN).out
    assert "\nexport MINE='a '\"'\"'b'\"'\"' $c'\n" in script
    assert script.index("export MINE=") < script.index("ray start")
    refused = atlasbasset("submit", "--as", "rayjob", "--env", "MINE", *TRAIN)
    assert refused.code == 2
    assert "MINE has a $ or a backquote" in said(refused)


@pytest.mark.parametrize("kind", KINDS)
def test_a_variable_that_is_not_set_is_refused(atlasbasset: Atlasbasset, kind: str) -> None:
    done = atlasbasset("submit", "--as", kind, "--env", "NONE_SUCH", *TRAIN)
    assert done.code == 2
    assert "NONE_SUCH is not set here" in said(done)
