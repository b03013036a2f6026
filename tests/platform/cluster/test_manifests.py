"""A job as a file; that the files are right: tests/cluster."""

from __future__ import annotations

import pytest
import yaml

from atlasbasset.cluster.manifests import JobFile, entrypoint, rayjob, slurm_script
from atlasstore.errors import UserInputError


def job(**changes):
    values = {"words": ["denoise", "a b", "--out", "c"], "workers": 3, "cpus": 2, "gpus": 0}
    return JobFile(**(values | changes))


def test_the_command_is_quoted_for_a_shell():
    assert entrypoint(["embed", "a b"], 600.0) == (
        "python -m atlasjobs.on_cluster --wait 600 -- embed 'a b'"
    )


def test_workers_without_gpus_need_no_gpu_node():
    spec = list(yaml.safe_load_all(rayjob(job())))[1]["spec"]
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert (group["groupName"], group["replicas"]) == ("cpu", 3)
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "4", "memory": "12Gi"}
    assert "nodeSelector" not in pod


def test_a_verb_without_workers_runs_in_a_larger_head():
    spec = list(yaml.safe_load_all(rayjob(job(workers=0))))[1]["spec"]["rayClusterSpec"]
    assert "workerGroupSpecs" not in spec
    container = spec["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "8", "memory": "32Gi"}


def test_an_allocation_has_a_node_for_each_worker():
    script = slurm_script(job())
    assert "#SBATCH --nodes=3\n" in script
    assert "--gpus-per-node" not in script
    assert "--num-gpus=0 " in script
    assert "#SBATCH --nodes=1\n" in slurm_script(job(workers=0))
    with pytest.raises(UserInputError, match=r"whole GPUs to a worker, got 0.5"):
        slurm_script(job(gpus=0.5))
