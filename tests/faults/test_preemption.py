"""A node that is about to be taken away: a checkpoint within its notice, and the run goes on."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psutil
import pytest

from atlasbasset.engine.loop import Run
from atlasbasset.engine.ray_train import run_ray
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from atlasstore.models.model_store import ModelStore
from tiny import atlas, config

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

NOTICE_S = 60


@pytest.fixture
def cluster(monkeypatch):
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a cluster of this test alone, on loopback
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    monkeypatch.setenv("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", "0.5")
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def wait_until(condition, seconds, failed):
    deadline = time.monotonic() + seconds
    while not condition():
        assert not failed, failed
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def test_a_notice_leads_to_a_checkpoint_of_the_step_at_hand(cluster, tmp_path):
    atlas_url = atlas(tmp_path / "atlas.zarr", n_peaks=20_000, min_blocks=16)
    settings = config(epochs=1, checkpoint_s=1e6)  # one long epoch, no checkpoint in it
    model = str(tmp_path / "model")
    begun_store(Atlas.open(atlas_url), model, settings)
    node = cluster.add_node(num_cpus=1)
    failed = []

    def fit():
        try:
            run_ray(Run(atlas_url, model, settings), 2, lambda _event: None, min_workers=1)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failed.append(error)

    training = threading.Thread(target=fit)
    training.start()
    wait_until(lambda: workers_at_work() == 2, 120, failed)
    time.sleep(3)
    assert ModelStore.open(model).latest() is None
    drain(cluster, node)
    noticed = time.monotonic()
    wait_until(lambda: ModelStore.open(model).latest() is not None, NOTICE_S, failed)
    assert time.monotonic() - noticed < NOTICE_S / 2
    step = ModelStore.open(model).latest().state["step"]
    assert step > 0
    wait_until(lambda: ModelStore.open(model).latest().state["step"] > step, NOTICE_S, failed)
    cluster.remove_node(node, allow_graceful=False)
    training.join(timeout=300)
    assert not training.is_alive()
    assert not failed
    assert [r["epoch"] for r in ModelStore.open(model).newest().state["history"]] == [1]


def workers_at_work():
    return sum("RayTrainWorker" in words(one) for one in psutil.Process().children(recursive=True))


def words(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return ""


def drain(cluster, node):
    """Tell Ray that a node will be taken away, as a cloud's notice is passed on."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
    command += ["--address", cluster.address, "--node-id", node.node_id]
    command += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    command += ["--deadline-remaining-seconds", str(NOTICE_S)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
