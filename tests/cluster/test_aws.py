"""The AWS `ray up` file in a simulated EC2 and IAM (moto, in this process).

Ray's own code makes the security group and starts the nodes. Not checked: that the images, the
package index and the quota of an account are there on the day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ray.autoscaler._private.util import prepare_config, validate_config

if TYPE_CHECKING:
    from pathlib import Path


def node_configs(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: kind["node_config"] for name, kind in config["available_node_types"].items()}


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
