"""Ray workers and nodes that die under a batch job: the same bytes, and nobody waits for ever."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

import atlasbasset
from atlasstore.events import Progress
from atlasstore.results.result import Result
from denoise_process import OPTIONS, make_stores, small_units
from ray_cluster import own_ray
from store_bits import stored

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

STAGES = ("embedding sequences", "writing predictions")
FLOATS = OPTIONS | {"dtype": "float32"}


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch.setattr)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture
def whole(stores, tmp_path):
    """What this process alone makes."""
    atlasbasset.denoise(*stores, out=tmp_path / "whole", **FLOATS)
    return stored(str(tmp_path / "whole"))


@pytest.fixture
def local_ray():
    with own_ray():
        yield


def workers():
    """Processes that do units now."""
    children = psutil.Process().children(recursive=True)
    return [p for p in children if "MapWorker" in " ".join(p.cmdline())]


@pytest.mark.slow
def test_a_worker_killed_in_every_stage(local_ray, stores, whole, tmp_path):
    killed, told = {}, {stage: [] for stage in STAGES}

    def hear(event):
        if isinstance(event, Progress):
            told[event.stage].append(event.done)
            if event.done and event.stage not in killed:
                killed[event.stage] = workers()[0].pid
                os.kill(killed[event.stage], signal.SIGKILL)

    out = tmp_path / "r"
    atlasbasset.denoise(*stores, out=out, workers=2, on_event=hear, **FLOATS)
    assert set(killed) == set(STAGES)
    assert all(done == sorted(set(done)) for done in told.values())
    assert stored(str(out)) == whole
    Result.open(out).verify()


@pytest.mark.slow
def test_a_node_lost_among_the_shards(stores, whole, tmp_path, monkeypatch):
    """The head has no room for workers, the first node goes, and the second one does the rest."""
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    head = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    lost = cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    removed = []

    def hear(event):
        if isinstance(event, Progress) and event.stage == STAGES[1] and event.done and not removed:
            cluster.remove_node(lost, allow_graceful=False)
            removed.append(event.done)

    try:
        out = tmp_path / "r"
        atlasbasset.denoise(*stores, out=out, workers=2, on_event=hear, **FLOATS)
        n_alive = sum(node["Alive"] for node in ray.nodes())
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert removed
    assert n_alive == 2
    assert stored(str(out)) == whole
