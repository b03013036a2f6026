"""A cluster that loses a node in mid-run and gets one back: 2 workers, 1, 2; the same result."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import atlasbasset
from atlasbasset.engine.loop import Run
from atlasbasset.engine.ray_train import run_ray
from atlasbasset.verbs.train.setup import begun_store
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import AtlasError
from atlasstore.models.model_store import ModelStore
from tiny import atlas, config

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

EPOCHS = 80
WAIT_S = 400


@pytest.fixture
def cluster(monkeypatch):
    """A head with one core, where the driver is; nodes come and go."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # a cluster of this test alone, on loopback
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "5")
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    ray.init(address=found.address, log_to_driver=False)
    yield found
    ray.shutdown()
    found.shutdown()


def epochs_done(model):
    try:
        checkpoint = ModelStore.open(model).latest()
    except (AtlasError, OSError):  # not there yet, or just being replaced
        return 0
    return 0 if checkpoint is None else len(checkpoint.state["history"])


def wait_until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def workers_now(model):
    checkpoint = ModelStore.open(model).latest()
    return checkpoint.state["history"][-1]["workers"]


def test_two_workers_one_and_two_again(cluster, tmp_path):
    atlas_url = atlas(tmp_path / "atlas.zarr", n_peaks=600, min_blocks=16)
    settings = config(epochs=EPOCHS, patience=EPOCHS)
    one = atlasbasset.train(atlas_url, out=tmp_path / "one", config=settings)
    model = str(tmp_path / "elastic")
    begun_store(Atlas.open(atlas_url), model, settings)
    run = Run(atlas_url, model, settings)
    node = cluster.add_node(num_cpus=1)
    failed = []

    def fit():
        try:
            run_ray(run, 2, lambda _event: None, min_workers=1, resize_check_s=1.0, max_failures=-1)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failed.append(error)

    training = threading.Thread(target=fit)
    training.start()
    wait_until(lambda: failed or epochs_done(model) >= 3)
    assert not failed
    assert workers_now(model) == 2
    cluster.remove_node(node, allow_graceful=False)
    lost_at = epochs_done(model)
    wait_until(lambda: failed or epochs_done(model) >= lost_at + 2)
    assert not failed
    assert workers_now(model) == 1
    cluster.add_node(num_cpus=1)
    training.join(timeout=WAIT_S)
    assert not training.is_alive()
    assert not failed
    history = ModelStore.open(model).newest().state["history"]
    assert [record["epoch"] for record in history] == list(range(1, EPOCHS + 1))
    assert {record["workers"] for record in history} == {1, 2}
    assert history[-1]["workers"] == 2
    losses = [[record["loss"] for record in h] for h in (one.history, history)]
    # other numbers of workers sum in another order, and training amplifies that: 0.2 % was seen in
    # the first 20 epochs, 2.04 % at the worst of all 80. A step lost or done twice is one of five.
    np.testing.assert_allclose(losses[1][:20], losses[0][:20], rtol=5e-3)
    np.testing.assert_allclose(losses[1], losses[0], rtol=5e-2)
    np.testing.assert_allclose(*(np.mean(half[40:]) for half in losses), rtol=1e-2)
