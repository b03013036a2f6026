"""The `ray up` files, checked without a cloud.

Ray's own reader and schema, and the shell commands: run with a stand-in for `ray`, and the set-up
for real in an empty home. Not checked: that images and machine types are there on the day.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

COMMAND_LISTS = (
    "setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
NOTICE = "atlasbasset.cluster.preemption_notice"
START_LISTS = ("head_start_ray_commands", "worker_start_ray_commands")


def start_commands(config: dict[str, Any]) -> list[str]:
    commands = [command for key in START_LISTS for command in config[key]]
    return [command for command in commands if NOTICE not in command]


@pytest.mark.usefixtures("no_network")
def test_ray_reads_and_accepts_the_file(ray_up_file: dict[str, Any]) -> None:
    config = prepare_config(ray_up_file)
    validate_config(config)
    assert config["available_node_types"]["gpu_worker"]["min_workers"] == 0
    assert config["available_node_types"]["gpu_worker"]["max_workers"] == config["max_workers"]


@pytest.mark.usefixtures("no_network")
def test_a_misspelled_key_is_refused(ray_up_file: dict[str, Any]) -> None:
    ray_up_file["idle_timeout_minute"] = ray_up_file.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(prepare_config(ray_up_file))


def test_local_files_to_mount_are_in_the_checkout_or_at_home(
    ray_up_file: dict[str, Any], root: Path
) -> None:
    mounts = ray_up_file["file_mounts"]
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
    made = {"dist"}  # by `make wheel`
    for local in mounts.values():
        assert local.startswith("~/") or local in made or (root / local).is_file(), local


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)
def test_the_setup_commands_install_a_wheel(
    ray_up_file: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    """On a node that has nothing but Python; one without a GPU is told so."""
    folders = {
        target: tmp_path / target.removeprefix("~/") for target in ray_up_file["file_mounts"]
    }
    folders["~/.ray/auth_token"].parent.mkdir()
    folders["~/.ray/auth_token"].write_text("token")
    shutil.copy(root / "constraints.txt", folders["~/constraints.txt"])
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folders["~/wheels"], root]
    subprocess.run(wheel, check=True)
    (folders["~/wheels"] / "atlasbasset-0.0.1-py3-none-any.whl").touch()  # an older one
    os.utime(folders["~/wheels"] / "atlasbasset-0.0.1-py3-none-any.whl", (1, 1))
    path = f"{Path(sys.base_prefix, 'bin')}:/usr/bin:/bin"
    cache = str(Path.home() / ".cache" / "pip")  # the second file installs the same
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": path, "PIP_CACHE_DIR": cache}
    environment.pop("PYTHONPATH", None)  # what is installed counts
    for command in ray_up_file["setup_commands"]:
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
    shell = ["bash", "-c", "source ~/.bashrc; atlasbasset --version; echo $RAY_AUTH_MODE"]
    said = subprocess.run(shell, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split()[-2:] == [version("atlasbasset"), "token"]
    (look,) = ray_up_file["worker_setup_commands"]
    found = subprocess.run(["bash", "-c", look], env=environment, capture_output=True, text=True)
    assert found.returncode == 0 or "torch sees no GPU" in found.stderr


def test_shell_commands_parse(ray_up_file: dict[str, Any]) -> None:
    for command in (command for key in COMMAND_LISTS for command in ray_up_file[key]):
        done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)


def run_with_stand_in_for_ray(command: str, home: Path) -> list[list[str]]:
    """Run a start command in a shell; return mode and arguments of each call of `ray`."""
    calls = home / "calls.jsonl"
    ray = home / "atlasbasset" / "bin" / "ray"
    ray.parent.mkdir(parents=True)
    ray.write_text(
        "#!/usr/bin/env python3\n"
        "import json, os, sys\n"
        f"with open({str(calls)!r}, 'a') as log:\n"
        "    log.write(json.dumps([os.environ.get('RAY_AUTH_MODE'), *sys.argv[1:]]) + '\\n')\n"
    )
    ray.chmod(0o755)
    clean = {"HOME": str(home), "PATH": os.environ["PATH"], "RAY_HEAD_IP": "10.0.0.1"}
    subprocess.run(["bash", "-c", f"ulimit() {{ :; }}; {command}"], env=clean, check=True)
    return [json.loads(line) for line in calls.read_text().splitlines()]


@pytest.mark.parametrize("index", range(4))
def test_every_start_command_turns_token_authentication_on(
    ray_up_file: dict[str, Any], index: int, tmp_path: Path
) -> None:
    from ray.scripts.scripts import cli

    commands = start_commands(ray_up_file)
    assert len(commands) == 4
    calls = run_with_stand_in_for_ray(commands[index], tmp_path)
    assert len(calls) == 1
    mode, verb, *options = calls[0]
    assert mode == "token"
    # Parses the options as `ray` itself would: an unknown one raises.
    context = cli.commands[verb].make_context(verb, list(options))
    if context.params.get("head"):
        assert context.params["dashboard_host"] == "127.0.0.1"


def test_a_worker_waits_for_the_clouds_notice_in_the_background(
    ray_up_file: dict[str, Any], tmp_path: Path
) -> None:
    (command,) = [one for one in ray_up_file["worker_start_ray_commands"] if NOTICE in one]
    cloud = ray_up_file["provider"]["type"]
    python = tmp_path / "atlasbasset" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nsleep 0.5\necho "$RAY_AUTH_MODE $*" > ~/called\n')
    python.chmod(0o755)
    clean = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    began = time.monotonic()
    subprocess.run(["bash", "-c", command], env=clean, check=True)
    assert time.monotonic() - began < 0.5, "ray up would wait for it"
    until = time.monotonic() + 10
    while not (tmp_path / "called").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert (tmp_path / "called").read_text() == f"token -m {NOTICE} {cloud}\n"
    assert find_spec(NOTICE) is not None
