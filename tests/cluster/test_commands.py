"""Every `atlasbasset` and `ray` command in the cluster files and their page would be accepted.

The commands are parsed by the programs' own command lines, never run.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def from_shell(line: str, program: str) -> list[list[str]]:
    """Argument lists of a program in a shell line: first, in parentheses, after `--`, or quoted."""
    words = shlex.split(line.replace("(umask 077;", ""), comments=True)
    nested = [
        found for word in words if f"{program} " in word for found in from_shell(word, program)
    ]
    for place, word in enumerate(words):
        if word == program and (place == 0 or words[place - 1] == "--"):
            return [until_redirection(words[place + 1 :]), *nested]
    return nested


def until_redirection(words: list[str]) -> list[str]:
    return words[: words.index(">")] if ">" in words else words


def from_markdown(text: str, program: str) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [found for line in lines for found in from_shell(line, program)]


@pytest.fixture(scope="module")
def commands(configs: Path, root: Path) -> list[list[str]]:
    cmd = re.search(r"^CMD (.*)$", (configs / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert cmd
    files = [*sorted((configs / "kuberay").glob("rayjob-*.yaml")), configs / "slurm" / "train.sh"]
    page = (root / "docs" / "clusters.md").read_text()
    return [json.loads(cmd.group(1))[1:], *map(verb_of, files), *from_markdown(page, "atlasbasset")]


def verb_of(file: Path) -> list[str]:
    """The verb's words in the command that a job file runs."""
    (line,) = [line for line in file.read_text().splitlines() if "atlasjobs.on_cluster" in line]
    words = shlex.split(line.removesuffix("&"))
    return words[words.index("--") + 1 :]


def accept(arguments: list[str]) -> None:
    """Parse as `atlasbasset ARGUMENTS` would, without running; raise what it would raise."""
    import typer.main

    from atlasjobs.cli import app

    command = typer.main.get_group(app)
    if arguments[0] == "--help":
        return
    verb, *rest = arguments
    if verb == "submit" and "--" in rest:
        accept(rest[rest.index("--") + 1 :])
    parent = command.make_context("atlasbasset", [verb, *rest])
    verb_command = command.get_command(parent, verb)
    assert verb_command is not None, f"no verb {verb}"
    verb_command.make_context(verb, rest, parent=parent)


def test_commands_are_found_where_they_stand(commands: list[list[str]]) -> None:
    assert [command[0] for command in commands].count("train") >= 2
    assert {"preprocess", "denoise", "motifs", "ism", "submit"} <= {one[0] for one in commands}
    assert from_shell("x submit -- atlasbasset train a --out b", "atlasbasset") == [
        ["train", "a", "--out", "b"]
    ]
    assert from_shell("ray exec c.yaml 'atlasbasset inspect a'", "atlasbasset") == [
        ["inspect", "a"]
    ]
    assert from_shell("cd atlasbasset # atlasbasset train", "atlasbasset") == []


def test_every_command_is_accepted_by_the_program(commands: list[list[str]]) -> None:
    for arguments in commands:
        accept(arguments)


def test_an_unknown_option_would_be_noticed() -> None:
    with pytest.raises(Exception, match="--no-such-option"):
        accept(["train", "a.zarr", "--out", "b.zarr", "--no-such-option"])


def test_every_ray_command_on_the_page_is_one_ray_accepts(root: Path) -> None:
    from ray.scripts.scripts import cli

    commands = from_markdown((root / "docs" / "clusters.md").read_text(), "ray")
    assert {"up", "down", "exec", "dashboard"} <= {command[0] for command in commands}
    for verb, *rest in commands:
        if verb == "job":
            verb, *rest = rest
            cli.commands["job"].commands[verb].make_context(verb, rest)
        else:
            cli.commands[verb].make_context(verb, rest)
