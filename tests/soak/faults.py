"""What strikes a run at its moment. Each goes on with the driver itself."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil

from soak.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from flaky_s3 import Fault, FlakyProxy
    from ray_cluster import RayNodes
    from soak.work import Task

_WORKERS = ("MapWorker", "RayTrainWorker", "spawn_main")
_WAIT_S = 60.0


@dataclass
class Scene:
    """What a fault can strike, and what it has done."""

    driver: Driver
    task: Task
    rng: np.random.Generator
    settings: Mapping[str, str]
    proxy: FlakyProxy | None = None
    cluster: RayNodes | None = None
    attempt: ExitStack = field(default_factory=ExitStack)
    """Closed when the disturbed attempt has ended."""
    others: list[Driver] = field(default_factory=list)
    """Drivers that do the same beside it."""
    has_struck: bool = True

    def later(self) -> None:
        """Let the driver go on for a moment that nobody chose."""
        self.driver.go_on()
        time.sleep(self.rng.uniform(0, 0.3))


def kill_driver(scene: Scene) -> None:
    scene.later()
    scene.driver.process.kill()


def terminate_driver(scene: Scene) -> None:
    scene.later()
    with suppress(ProcessLookupError):
        os.kill(scene.driver.process.pid or 0, signal.SIGTERM)


def kill_worker(scene: Scene) -> None:
    scene.driver.go_on()
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until and not scene.driver.has_spoken(0.1):
        if found := _workers(scene):
            with suppress(psutil.NoSuchProcess):
                scene.rng.choice(found).kill()  # type: ignore[arg-type]
                return
    scene.has_struck = False


def _workers(scene: Scene) -> list[psutil.Process]:
    nodes = [] if scene.cluster is None else scene.cluster.nodes
    found = []
    for pid in (scene.driver.process.pid, *(node.pid for node in nodes)):
        with suppress(psutil.Error):
            found += psutil.Process(pid).children(recursive=True)
    return [one for one in found if any(name in _words(one) for name in _WORKERS)]


def _words(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def kill_node(scene: Scene) -> None:
    """A worker node goes, with all that runs on it, and another comes."""
    assert scene.cluster is not None
    scene.later()
    scene.cluster.kill(scene.cluster.nodes[-1])
    scene.cluster.worker()


def kill_head(scene: Scene) -> None:
    """The whole cluster goes, and is there again when the driver has ended."""
    assert scene.cluster is not None
    scene.later()
    for node in list(scene.cluster.nodes):
        scene.cluster.kill(node)
    scene.attempt.callback(start_nodes, scene.cluster)


def start_nodes(cluster: RayNodes) -> None:
    cluster.head()
    cluster.worker()


def storage(*faults: Fault, every: int = 4, method: str = "") -> Callable[[Scene], None]:
    """Every few requests fail from the moment on; all, with `every` of 1."""

    def strike(scene: Scene) -> None:
        assert scene.proxy is not None
        scene.attempt.enter_context(scene.proxy.failing(*faults, every=every, method=method))
        scene.driver.go_on()

    return strike


def second_writer(scene: Scene) -> None:
    """Another process does the same."""
    scene.others.append(Driver(scene.settings))
    scene.others[-1].begin(replace(scene.task, moment=None))
    time.sleep(scene.rng.uniform(0, 0.5))
    scene.driver.go_on()


HERE: dict[str, Callable[[Scene], None]] = {
    "driver": kill_driver,
    "SIGTERM": terminate_driver,
    "two writers": second_writer,
}
IN_STORAGE: dict[str, Callable[[Scene], None]] = {
    "S3 500": storage("500"),
    "S3 503": storage("503"),
    "S3 reset": storage("reset", "cut"),
    "S3 slow": storage("slow", every=20),
}
AND_LASTING: dict[str, Callable[[Scene], None]] = {
    "S3 lost": storage("lost", every=9, method="PUT"),
    "S3 gone": storage("503", "500", every=1),
    "expired credentials": storage("expired", every=1),
}
OF_WORKERS: dict[str, Callable[[Scene], None]] = {"worker": kill_worker}
OF_NODES: dict[str, Callable[[Scene], None]] = {"node": kill_node}
