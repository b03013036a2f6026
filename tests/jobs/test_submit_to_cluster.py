"""Jobs on a real cluster of two nodes, with a token and S3: submitted, lost, stopped, resumed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import atlasbasset
from atlasbasset.engine.config import TrainConfig
from atlasstore.errors import AtlasError
from atlasstore.models.model_store import ModelStore
from flaky_s3 import s3_behind_proxy
from ray_cluster import ray_nodes
from tiny import atlas, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flaky_s3 import FlakyProxy
    from ray_cluster import RayNodes

pytest.importorskip("aiohttp_cors", reason="Ray Jobs need ray[default]: the extra `cluster`")
pytestmark = [pytest.mark.ray, pytest.mark.s3, pytest.mark.slow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).resolve().parents[2]
MODEL, RESULT = "s3://bucket/model.zarr", "s3://bucket/denoised.zarr"
CHANGES = {
    "epochs": 8,
    "patience": 8,
    "batch_size": 16,
    "compute": "fp32",
    "seed": 5,
    "init_from": "s3://bucket/start.zarr",
}
DUMP = re.compile(r"\*\*\* SIG[A-Z]+ received|^.*PC: @|^.*@ +0x[0-9a-f]{6,}", re.MULTILINE)
"""What Ray's C++ writes of a process that a signal ends: its name and a stack."""
SETTINGS = [
    word for name, value in CHANGES.items() for word in (f"--{name.replace('_', '-')}", str(value))
]


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def storage(environment: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    """A bucket with an atlas and a model whose tiny trunk others start from."""
    with s3_behind_proxy(environment) as proxy:
        atlas("s3://bucket/atlas.zarr", n_peaks=300)
        atlasbasset.train(
            "s3://bucket/atlas.zarr", out="s3://bucket/start.zarr", config=config(epochs=1)
        )
        yield proxy


@pytest.fixture(scope="module")
def cluster(storage: FlakyProxy) -> Iterator[RayNodes]:
    sooner = {
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_failure_threshold": "10",
    }
    with ray_nodes(**sooner) as nodes:
        nodes.variables["ATLASBASSET_LOG"] = str(nodes.home / "events.jsonl")
        nodes.head()
        nodes.worker()
        yield nodes


def test_the_nodes_are_listed(cluster: RayNodes) -> None:
    until, roles = time.monotonic() + 60, []
    while len(roles) < 2 and time.monotonic() < until:  # a node is seen some time after it started
        done = cluster.run("resources")
        assert done.returncode == 0, done.stderr
        rows, _, _ = done.stdout.partition("next:")
        roles = [line.split()[2] for line in rows.splitlines()[1:]]
    assert sorted(roles) == ["head", "worker"]


def epochs_done(url: str) -> int:
    try:
        checkpoint = ModelStore.open(url).latest()
    except (AtlasError, OSError):
        return 0
    return 0 if checkpoint is None else len(checkpoint.state["history"])


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 400
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def losses(url: str) -> list[float]:
    return [record["loss"] for record in ModelStore.open(url).newest().state["history"]]


def test_a_training_survives_its_node_and_equals_an_undisturbed_one(cluster: RayNodes) -> None:
    words = ("train", "s3://bucket/atlas.zarr", "--out", MODEL, "--recipe", "paper", *SETTINGS)
    words += ("--workers", 2)
    following = subprocess.Popen(
        cluster.command("submit", "--", *words),
        env=cluster.client,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: epochs_done(MODEL) >= 2, following)
    wait_until(lambda: "ray_atlasbasset_loss{" in cluster.metrics(), following)
    twice = cluster.run("submit", "--detach", "--", *words)
    assert "running, as it was" in twice.stdout, twice.stderr
    cluster.kill(cluster.nodes[-1])
    cluster.worker()
    out, _ = following.communicate(timeout=400)
    assert following.returncode == 0, out
    assert "preflight: s3://bucket/model.zarr can be written" in out
    assert out.count("preflight: passed") == 1
    assert "has been marked dead" in out
    assert "raylet crashes" not in out, "one sentence of what Ray says"
    assert_logged(cluster, out)
    undisturbed = "s3://bucket/undisturbed.zarr"
    settings = TrainConfig.recipe("paper", **CHANGES)
    atlasbasset.train(
        "s3://bucket/atlas.zarr", out=undisturbed, config=settings, workers=2, launcher="process"
    )
    np.testing.assert_array_equal(losses(MODEL), losses(undisturbed))


def assert_logged(cluster: RayNodes, out: str) -> None:
    """Driver and ranks have told what they did, under the job's id."""
    lines = (cluster.home / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    job = out.split()[1].rstrip(":")
    assert {event["run"] for event in events} == {job}
    assert {event["rank"] for event in events} == {None, 0, 1}
    assert {"notice", "epoch_end", "step_done"} <= {event["event"] for event in events}


def test_a_job_that_was_stopped_is_resumed_under_the_next_number(
    cluster: RayNodes, storage: FlakyProxy
) -> None:
    words = ("denoise", MODEL, "s3://bucket/atlas.zarr", "--out", RESULT, "--workers", 2)
    with storage.failing("503", method="PUT", path="denoised.zarr.partial/"):
        begun = cluster.run("submit", "--detach", "--", *words)
        job = begun.stdout.split()[1].rstrip(":")
        until = time.monotonic() + 200
        while not storage.faults and time.monotonic() < until:
            time.sleep(0.1)
        stopped = cluster.run("stop", job)
    assert storage.faults
    assert stopped.stdout.startswith(f"job {job}: stopped\n"), stopped.stderr
    assert cluster.run("status", job).returncode == 1
    resumed = cluster.run("submit", "--", *words)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert f"job {job}-2: succeeded" in resumed.stdout
    again = cluster.run("logs", job)
    assert "preflight: passed" in again.stdout
    assert not DUMP.search(again.stdout), "the verb ends in order, and Ray says nothing of its own"


READ = """
import sys
import anndata, zarr
store = zarr.storage.FsspecStore.from_url("s3://bucket/denoised.zarr", read_only=True)
found = anndata.read_zarr(zarr.open_group(store, mode="r"))
assert not any(name.startswith("atlas") for name in sys.modules)
print(found.shape)
import s3fs
try:
    s3fs.S3FileSystem().pipe_file("bucket/denoised.zarr/more", b"x")
except PermissionError:
    print("read only")
"""


def test_the_result_is_read_by_anndata_alone_with_rights_to_read(
    cluster: RayNodes, storage: FlakyProxy
) -> None:
    with storage.failing("403", method="PUT"):
        done = subprocess.run(
            [sys.executable, "-c", READ], env=cluster.client, capture_output=True, text=True
        )
    assert done.stdout.splitlines() == ["(40, 300)", "read only"], done.stderr


def test_shipped_inputs_arrive_and_others_are_refused(cluster: RayNodes, tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text("cell0\ncell1\n")
    words = ("denoise", MODEL, "s3://bucket/atlas.zarr", "--cells", "wanted.txt", "--out")
    done = cluster.run("submit", "--", *words, "s3://bucket/two.zarr", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shipped wanted.txt" in done.stdout
    lost = cluster.run("submit", "--", *words, "two.zarr", cwd=tmp_path)
    assert lost.returncode == 2
    assert "two.zarr would be written on a node" in lost.stderr


def wheel_of_this_checkout(folder: Path, version: str) -> Path:
    """The three packages and the metadata that tells the version, as `make wheel` packs them."""
    wheel = folder / f"atlasbasset-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for package in ("storage/atlasstore", "platform/atlasbasset", "jobs/atlasjobs"):
            for path in (ROOT / package).rglob("*"):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, path.relative_to((ROOT / package).parent))
        metadata = f"Metadata-Version: 2.4\nName: atlasbasset\nVersion: {version}\n"
        archive.writestr(f"atlasbasset-{version}.dist-info/METADATA", metadata)
    return wheel


def test_a_wheel_is_used_in_place_of_what_the_nodes_have(cluster: RayNodes, tmp_path: Path) -> None:
    wheel = wheel_of_this_checkout(tmp_path, "0.0.7")
    words = ("train", "s3://bucket/atlas.zarr", "--out", "s3://bucket/m", "--workers", 2)
    done = cluster.run("submit", "--wheel", wheel, "--", *words, "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "atlasbasset 0.0.7\n" in done.stdout
    assert "Would train s3://bucket/m" in done.stdout


def test_what_the_cluster_never_has_ends_with_a_sentence(cluster: RayNodes) -> None:
    words = ("train", "s3://bucket/atlas.zarr", "--out", "s3://bucket/m.zarr", "--workers", 5)
    done = cluster.run("submit", "--wait", 3, "--", *words)
    assert done.returncode == 2, done.stdout
    assert "did not give 5 workers of 1 CPU in 3.0 s (it has 2 CPUs" in done.stdout


def test_storage_that_refuses_the_workers_is_told_before_anything_runs(
    cluster: RayNodes, storage: FlakyProxy
) -> None:
    words = ("train", "s3://bucket/none.zarr", "--out", "s3://bucket/m.zarr", "--workers", 2)
    done = cluster.run("submit", "--", *words)
    assert done.returncode == 2, done.stdout
    assert "cannot read s3://bucket/none.zarr: it does not exist there" in done.stdout
