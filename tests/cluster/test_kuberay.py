"""The KubeRay files, checked without Kubernetes.

`rayjob.schema.json` names every field that the manifest may have. The API server would drop an
unknown field in silence; here it is an error. Beyond the fields, the tests hold the rules that
the operator itself applies to a RayJob, and the ones that make the job work as docs/clusters.md
says. Not checked: that the image is in the registry and that a node has the labels asked for.
"""

from __future__ import annotations

import copy
import json
import shlex
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from atlasbasset.cluster import preemption_notice
from atlasjobs.cluster_job import job_file
from cluster_files import documents, parsed

if TYPE_CHECKING:
    from atlasjobs.verb_call import VerbCall

Manifests = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(Path(__file__).with_name("rayjob.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def job(manifests: Manifests) -> dict[str, Any]:
    return manifests["RayJob"]


def pod_specs(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    cluster = job["spec"]["rayClusterSpec"]
    return {
        "submitter": job["spec"]["submitterPodTemplate"]["spec"],
        "head": cluster["headGroupSpec"]["template"]["spec"],
        **{g["groupName"]: g["template"]["spec"] for g in cluster.get("workerGroupSpecs", [])},
    }


@pytest.fixture
def training(configs: Path) -> dict[str, Any]:
    return documents(configs / "kuberay" / "rayjob-train.yaml")["RayJob"]


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[int(key) if key.isdigit() else key]
    return document


def objects(schema: Any) -> list[dict[str, Any]]:
    """Every sub-schema of type object."""
    if isinstance(schema, list):
        return [one for item in schema for one in objects(item)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if schema.get("type") == "object" else []
    return here + [one for item in schema.values() for one in objects(item)]


def test_the_manifest_has_only_known_fields(
    job: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert [error.message for error in validator.iter_errors(job)] == []


def test_the_schema_is_closed_everywhere(validator: jsonschema.Draft202012Validator) -> None:
    found = objects(validator.schema)
    assert len(found) > 15
    assert all("additionalProperties" in one for one in found)


@pytest.mark.parametrize(
    ("path", "field", "misspelled"),
    [
        ("spec", "backoffLimit", "backofLimit"),
        ("spec", "shutdownAfterJobFinishes", "shutdownAfterJobFinish"),
        ("spec.rayClusterSpec", "authOptions", "authOption"),
        ("spec.rayClusterSpec.authOptions", "mode", "Mode"),
        ("spec.rayClusterSpec.workerGroupSpecs.0", "maxReplicas", "maxReplica"),
        ("spec.rayClusterSpec.workerGroupSpecs.0.template.spec", "nodeSelector", "nodeSelectors"),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.containers.0", "env", "envs"),
    ],
)
def test_a_misspelled_field_is_refused(
    training: dict[str, Any],
    validator: jsonschema.Draft202012Validator,
    path: str,
    field: str,
    misspelled: str,
) -> None:
    changed = copy.deepcopy(training)
    place = at(changed, path)
    place[misspelled] = place.pop(field)
    messages = [error.message for error in validator.iter_errors(changed)]
    assert any(f"'{misspelled}' was unexpected" in message for message in messages), messages


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("spec.rayClusterSpec.authOptions", "mode", "tokens"),
        ("spec", "backoffLimit", "3"),
        ("spec.rayClusterSpec.headGroupSpec.rayStartParams", "num-cpus", 0),
        ("spec.rayClusterSpec.workerGroupSpecs.0", "replicas", -1),
    ],
)
def test_a_wrong_value_is_refused(
    training: dict[str, Any],
    validator: jsonschema.Draft202012Validator,
    path: str,
    field: str,
    value: object,
) -> None:
    changed = copy.deepcopy(training)
    at(changed, path)[field] = value
    assert not validator.is_valid(changed)


def test_the_operator_would_accept_the_job(job: dict[str, Any]) -> None:
    """Rules of the operator beyond its CRD: name length, token mode's Ray, fixed group size."""
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    assert len(job["metadata"]["name"]) <= 47
    assert tuple(int(part) for part in cluster["rayVersion"].split(".")) >= (2, 52, 0)
    assert spec["shutdownAfterJobFinishes"] or not spec["ttlSecondsAfterFinished"]
    for group in cluster.get("workerGroupSpecs", []):
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


def test_versions_are_the_ones_installed(job: dict[str, Any]) -> None:
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version("ray")
    images = {pod["containers"][0]["image"] for pod in pod_specs(job).values()}
    assert images == {f"REGISTRY/atlasbasset:{version('atlasbasset')}"}


def test_token_authentication_is_on_in_every_container(job: dict[str, Any]) -> None:
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    for pod in pod_specs(job).values():
        for container in pod["containers"]:
            env = {variable["name"]: variable["value"] for variable in container["env"]}
            assert env["RAY_AUTH_MODE"] == "token"
            assert "RAY_AUTH_TOKEN" not in env  # it comes from the operator's Secret


def test_the_cluster_holds_exactly_the_workers_asked_for(job: dict[str, Any]) -> None:
    call = call_of(job)
    cluster = job["spec"]["rayClusterSpec"]
    workers = gpus = 0
    for group in cluster.get("workerGroupSpecs", []):
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(limits["cpu"]) > call.cpus_per_worker
        workers += group["replicas"]
        gpus += group["replicas"] * limits.get("nvidia.com/gpu", 0)
    assert (workers, gpus) == (call.workers, call.workers * call.gpus_per_worker)
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"


def call_of(job: dict[str, Any]) -> VerbCall:
    words = shlex.split(job["spec"]["entrypoint"])
    return parsed(words[words.index("--") + 1 :])


def test_each_file_is_what_submit_prints(
    job: dict[str, Any], configs: Path, manifests: Manifests
) -> None:
    call = call_of(job)
    file = configs / "kuberay" / f"rayjob-{call.verb}.yaml"
    assert file.read_text() == job_file(call, "rayjob")
    assert manifests["ServiceAccount"]["metadata"]["name"] == f"atlasbasset-{call.verb}"


def test_ray_hears_of_a_worker_that_is_taken_away_before_it_ends(
    job: dict[str, Any], configs: Path
) -> None:
    standing = documents(configs / "kuberay" / "raycluster.yaml")["RayCluster"]["spec"]
    groups = job["spec"]["rayClusterSpec"].get("workerGroupSpecs", [])
    for group in [*groups, *standing["workerGroupSpecs"]]:
        pod = group["template"]["spec"]
        hook = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
        assert hook == ["python", "-m", preemption_notice.__name__, "pod"]
        assert pod["terminationGracePeriodSeconds"] > preemption_notice._POD_S + 10


def test_pods_are_unprivileged_and_have_limits(job: dict[str, Any]) -> None:
    for name, pod in pod_specs(job).items():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        container = pod["containers"][0]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
        if name != "submitter":
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_cloud_rights_come_from_the_service_account(
    manifests: Manifests, job: dict[str, Any]
) -> None:
    account = manifests["ServiceAccount"]
    assert account["apiVersion"] == "v1"
    assert account.keys() == {"apiVersion", "kind", "metadata"}
    assert account["metadata"]["annotations"].keys() == {"eks.amazonaws.com/role-arn"}
    for name, pod in pod_specs(job).items():
        if name != "submitter":
            assert pod["serviceAccountName"] == account["metadata"]["name"]


@pytest.fixture(scope="module")
def standing(configs: Path) -> Manifests:
    """The cluster that stays."""
    return documents(configs / "kuberay" / "raycluster.yaml")


def test_the_standing_cluster_has_only_known_fields(
    standing: Manifests, validator: jsonschema.Draft202012Validator
) -> None:
    cluster = standing["RayCluster"]
    as_job = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": cluster["metadata"]}
    as_job["spec"] = {"entrypoint": "true", "rayClusterSpec": cluster["spec"]}
    assert [error.message for error in validator.iter_errors(as_job)] == []
    assert cluster["apiVersion"] == "ray.io/v1"


def test_the_standing_cluster_asks_for_the_token_and_lets_no_other_pod_in(
    standing: Manifests,
) -> None:
    spec, name = standing["RayCluster"]["spec"], standing["RayCluster"]["metadata"]["name"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == version("ray")
    policy = standing["NetworkPolicy"]["spec"]
    own = {"matchLabels": {"ray.io/cluster": name}}
    assert policy["podSelector"] == own
    assert policy["ingress"] == [{"from": [{"podSelector": own}]}]
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in pods):
        assert pod["serviceAccountName"] == standing["ServiceAccount"]["metadata"]["name"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        container = pod["containers"][0]
        assert container["image"] == f"REGISTRY/atlasbasset:{version('atlasbasset')}"
        assert {"name": "RAY_AUTH_MODE", "value": "token"} in container["env"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = spec["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["maxReplicas"]) == (0, 4)
    assert workers["template"]["spec"]["automountServiceAccountToken"] is False
