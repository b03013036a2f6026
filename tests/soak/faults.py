"""What strikes a run at its moment. Each goes on with the driver itself."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from soak.driver import Driver, disk_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from flaky_s3 import Fault, FlakyProxy
    from ray_cluster import RayNodes
    from soak.work import Task

_WORKERS = ("MapWorker", "RayTrainWorker", "spawn_main")
_WAIT_S = 60.0
_NOTICE_S = 15


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
    before_again: Callable[[], None] = lambda: None
    """What a person does after an attempt that was refused."""
    longest_wait_s: float = 0.3
    """Between the moment and a kill."""
    has_struck: bool = True

    def later(self) -> None:
        """Let the driver go on for a moment that nobody chose."""
        self.driver.go_on()
        time.sleep(self.rng.uniform(0, self.longest_wait_s))


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
    """The head goes, the driver that runs on it and the workers; a new cluster comes."""
    assert scene.cluster is not None
    scene.later()
    for node in list(scene.cluster.nodes):
        scene.cluster.kill(node)
    scene.driver.process.kill()
    scene.attempt.callback(start_nodes, scene.cluster)


def preempt(scene: Scene) -> None:
    """A worker node is announced to be taken away, and is; another comes."""
    assert scene.cluster is not None
    scene.driver.go_on()
    scene.cluster.drain(scene.cluster.nodes[-1], _NOTICE_S)
    scene.driver.has_spoken(_NOTICE_S)
    scene.cluster.kill(scene.cluster.nodes[-1])
    scene.cluster.worker()


def start_nodes(cluster: RayNodes) -> None:
    cluster.head()
    cluster.worker()


def storage(*faults: Fault, every: int = 20, method: str = "") -> Callable[[Scene], None]:
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


def fill_disk(scene: Scene) -> None:
    """Nothing more can be written, until the attempt has ended."""
    filler = Path(disk_of(scene.driver, scene.task.out)).parent / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 12))
    scene.attempt.callback(filler.unlink)
    scene.driver.go_on()


def damage(change: Callable[[bytes], bytes]) -> Callable[[Scene], None]:
    """Kill the driver, and change the largest file of what it leaves."""

    def strike(scene: Scene) -> None:
        scene.driver.process.kill()
        scene.driver.process.join()
        out = Path(scene.task.out)
        left = out if scene.task.verb == "train" else Path(f"{out}.partial")
        files = [path for path in left.rglob("*") if path.is_file() and path.stem != "zarr"]
        tables = [path for path in files if path.suffix != ".json"]
        largest = max(tables or files, key=lambda path: (path.stat().st_size, str(path)))
        largest.write_bytes(change(largest.read_bytes()))
        scene.before_again = partial(shutil.rmtree, left)

    return strike


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _truncated(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


HERE: dict[str, Callable[[Scene], None]] = {
    "driver": kill_driver,
    "SIGTERM": terminate_driver,
    "two writers": second_writer,
}
IN_STORAGE: dict[str, Callable[[Scene], None]] = {
    "S3 500": storage("500"),
    "S3 503": storage("503"),
    "S3 reset": storage("reset", "cut"),
    "S3 slow": storage("slow"),
}
AND_LASTING: dict[str, Callable[[Scene], None]] = {
    "S3 lost": storage("lost", every=9, method="PUT"),
    "S3 gone": storage("503", "500", every=1),
    "expired credentials": storage("expired", every=1),
}
OF_WORKERS: dict[str, Callable[[Scene], None]] = {"worker": kill_worker}
OF_NODES: dict[str, Callable[[Scene], None]] = {"node": kill_node}
OF_CLUSTERS: dict[str, Callable[[Scene], None]] = {"head": kill_head, "preemption": preempt}
OF_DISKS: dict[str, Callable[[Scene], None]] = {
    "disk full": fill_disk,
    "flipped bit": damage(_flipped),
    "truncated shard": damage(_truncated),
}
