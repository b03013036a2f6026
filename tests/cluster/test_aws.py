"""The AWS `ray up` file, checked without AWS.

Three layers: Ray's own reader and schema; a simulated EC2 and IAM (moto, in this process) in
which Ray's own code makes the security group and starts the nodes; and the shell commands, run
with a stand-in for `ray`. Not checked: that the images, the package index and the quota of an
account are there on the day.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
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
START_LISTS = ("head_start_ray_commands", "worker_start_ray_commands")


def start_commands(config: dict[str, Any]) -> list[str]:
    return [command for key in START_LISTS for command in config[key]]


def node_configs(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: kind["node_config"] for name, kind in config["available_node_types"].items()}


@pytest.mark.usefixtures("no_network")
def test_ray_reads_and_accepts_the_file(aws_file: dict[str, Any]) -> None:
    config = prepare_config(aws_file)
    validate_config(config)
    assert config["available_node_types"]["gpu_worker"]["min_workers"] == 0
    assert config["available_node_types"]["gpu_worker"]["max_workers"] == config["max_workers"]


@pytest.mark.usefixtures("no_network")
def test_a_misspelled_key_is_refused(aws_file: dict[str, Any]) -> None:
    aws_file["idle_timeout_minute"] = aws_file.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        validate_config(prepare_config(aws_file))


def test_local_files_to_mount_are_in_the_checkout_or_at_home(
    aws_file: dict[str, Any], root: Path
) -> None:
    mounts = aws_file["file_mounts"]
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"
    made = {"dist"}  # by `make wheel`
    for local in mounts.values():
        assert local.startswith("~/") or local in made or (root / local).is_file(), local


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.timeout(900)
def test_the_setup_commands_install_a_wheel(
    aws_file: dict[str, Any], root: Path, tmp_path: Path
) -> None:
    """On a node that has nothing but Python; one without a GPU is told so."""
    folders = {target: tmp_path / target.removeprefix("~/") for target in aws_file["file_mounts"]}
    folders["~/.ray/auth_token"].parent.mkdir()
    folders["~/.ray/auth_token"].write_text("token")
    shutil.copy(root / "constraints.txt", folders["~/constraints.txt"])
    pip = [sys.executable, "-m", "pip"]
    wheel = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folders["~/wheels"], root]
    subprocess.run(wheel, check=True)
    (folders["~/wheels"] / "atlasbasset-0.0.1-py3-none-any.whl").touch()  # an older one
    os.utime(folders["~/wheels"] / "atlasbasset-0.0.1-py3-none-any.whl", (1, 1))
    path = f"{Path(sys.base_prefix, 'bin')}:/usr/bin:/bin"
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": path}
    for command in aws_file["setup_commands"]:
        done = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)
    shell = ["bash", "-c", "source ~/.bashrc; atlasbasset --version; echo $RAY_AUTH_MODE"]
    said = subprocess.run(shell, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split()[-2:] == [version("atlasbasset"), "token"]
    (look,) = aws_file["worker_setup_commands"]
    found = subprocess.run(["bash", "-c", look], env=environment, capture_output=True, text=True)
    assert found.returncode == 0 or "torch sees no GPU" in found.stderr


def test_shell_commands_parse(aws_file: dict[str, Any]) -> None:
    for command in (command for key in COMMAND_LISTS for command in aws_file[key]):
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
    aws_file: dict[str, Any], index: int, tmp_path: Path
) -> None:
    from ray.scripts.scripts import cli

    commands = start_commands(aws_file)
    assert len(commands) == 4
    calls = run_with_stand_in_for_ray(commands[index], tmp_path)
    assert len(calls) == 1
    mode, verb, *options = calls[0]
    assert mode == "token"
    # Parses the options as `ray` itself would: an unknown one raises.
    context = cli.commands[verb].make_context(verb, list(options))
    if context.params.get("head"):
        assert context.params["dashboard_host"] == "127.0.0.1"


@pytest.fixture
def simulated_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configs: Path) -> Any:
    """EC2 and IAM in this process, with the roles that docs/clusters.md tells to make."""
    moto = pytest.importorskip("moto")
    import boto3

    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    trust = (configs / "aws" / "trust-policy.json").read_text()
    with moto.mock_aws():
        iam = boto3.client("iam", region_name="us-west-2")
        for node in ("head", "worker"):
            make_role(iam, f"atlasbasset-{node}", trust, policies_of(node, configs))
        yield boto3.resource("ec2", region_name="us-west-2")


def policies_of(node: str, configs: Path) -> list[str]:
    names = ["bucket-policy", "head-policy"] if node == "head" else ["bucket-policy"]
    return [(configs / "aws" / f"{name}.json").read_text() for name in names]


def make_role(iam: Any, name: str, trust: str, policies: list[str]) -> None:
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    for number, policy in enumerate(policies):  # moto refuses a malformed policy, as IAM does
        iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)


def test_ray_launches_the_nodes_in_a_simulated_cloud(
    aws_file: dict[str, Any], simulated_aws: Any
) -> None:
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    config = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(aws_file))
    validate_config(config)
    assert config["available_node_types"]["gpu_worker"]["resources"]["GPU"] == 1
    assert config["available_node_types"]["head"]["resources"]["CPU"] == 0

    config = bootstrap_aws(config)
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name, node_config in node_configs(config).items():
        provider.create_node(node_config, {"ray-node-type": name}, 1)
    assert_private_and_encrypted(simulated_aws, set(node_configs(aws_file)))


def assert_private_and_encrypted(ec2: Any, names: set[str]) -> None:
    nodes = [node for node in ec2.instances.all() if node.tags]
    tags = [{tag["Key"]: tag["Value"] for tag in node.tags} for node in nodes]
    assert {tag["ray-node-type"] for tag in tags} == names
    # The policy in head-policy.json lets the head terminate by this tag.
    assert {tag["ray-cluster-name"] for tag in tags} == {"atlasbasset"}
    for node in nodes:
        assert node.metadata_options["HttpTokens"] == "required"
        assert all(volume.encrypted for volume in node.volumes.all())
        assert open_ports(ec2, node) == {22}


def open_ports(ec2: Any, node: Any) -> set[int]:
    """Ports of a node that an address outside its security group may reach."""
    groups = [ec2.SecurityGroup(group["GroupId"]) for group in node.security_groups]
    rules = [rule for group in groups for rule in group.ip_permissions]
    return {rule["FromPort"] for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]}


def test_rights_come_from_the_machine(aws_file: dict[str, Any]) -> None:
    profiles = {
        name: node["IamInstanceProfile"]["Name"] for name, node in node_configs(aws_file).items()
    }
    assert profiles == {"head": "atlasbasset-head", "gpu_worker": "atlasbasset-worker"}
    assert "aws_credentials" not in aws_file["provider"]
