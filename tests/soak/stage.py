"""Where trials take place: a bucket behind a proxy that fails, and nodes of a Ray cluster."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from atlasstore.files import urls
from flaky_s3 import s3_behind_proxy
from ray_cluster import ray_nodes
from soak.driver import Driver
from soak.faults import Scene, start_nodes
from soak.work import Task, bits, make_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

    from flaky_s3 import FlakyProxy
    from ray_cluster import RayNodes
    from soak.work import Inputs

_SOONER = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "10",
}
_BUCKET = "s3://bucket"


@dataclass(frozen=True)
class Place:
    """Where outputs go, and inputs lie."""

    root: str
    inputs: Inputs


@dataclass
class Stage:
    """The storage, the drivers, and what undisturbed runs make."""

    disk: Place
    settings: dict[str, str]
    bucket: Place | None = None
    proxy: FlakyProxy | None = None
    cluster: RayNodes | None = None
    drivers: dict[bool, Driver] = field(default_factory=dict)
    """With Ray or without."""
    every_driver: list[Driver] = field(default_factory=list)
    undisturbed: dict[tuple[str, int, bool], tuple[Any, int, float]] = field(default_factory=dict)
    """Of a verb, its workers and Ray: bits, events of progress, seconds."""

    def driver(self, *, ray: bool) -> Driver:
        """A living driver, which has joined the cluster if `ray`."""
        if (found := self.drivers.get(ray)) is None or not found.process.is_alive():
            self.drivers[ray] = Driver(self.environment(ray=ray))
            self.every_driver.append(self.drivers[ray])
        return self.drivers[ray]

    def environment(self, *, ray: bool) -> dict[str, str]:
        """What a driver has in its environment."""
        if not ray:
            return self.settings
        assert self.cluster is not None
        names = ("HOME", "RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "PYTHONPATH", *_SOONER)
        joined = {name: self.cluster.variables[name] for name in names}
        return {**self.settings, **joined, "RAY_ADDRESS": f"127.0.0.1:{self.cluster.port}"}

    def task(self, verb: str, name: str, *, in_bucket: bool = False, **options: Any) -> Task:
        """A task whose input and output are on the local disk, or in the bucket."""
        place = self.bucket if in_bucket else self.disk
        assert place is not None
        return Task(verb, place.inputs, f"{place.root}/{name}", **options)

    @contextmanager
    def scene(self, task: Task, rng: np.random.Generator, *, is_doomed: bool) -> Iterator[Scene]:
        """A scene; what is made in it is deleted in the end.

        A driver that is to be killed is one of this scene alone: the memory of one that lives long
        is looked at.
        """
        ray, settings = task.ray, self.environment(ray=task.ray)
        driver = Driver(settings) if is_doomed else self.driver(ray=ray)
        found = Scene(driver, task, rng, settings, self.proxy, self.cluster)
        try:
            yield found
        finally:
            if found.driver is not self.drivers.get(ray):
                found.driver.end()
            self.clear(task)

    def clear(self, task: Task) -> None:
        fs, _ = urls.filesystem(task.out)
        fs.invalidate_cache()
        for url in (task.out, f"{task.out}.partial", f"{task.out}.begin"):
            if fs.exists(url):
                fs.rm(url, recursive=True)

    def reference(self, verb: str, workers: int, *, ray: bool) -> tuple[Any, int, float]:
        """Bits, events of progress and seconds of an undisturbed run, done once.

        Bits are those of one process, and of a training by processes without Ray.
        """
        key = (verb, workers, ray)
        if key not in self.undisturbed:
            task = self.task(verb, f"whole-{verb}-{workers}-{ray:d}", workers=workers, ray=ray)
            driver, began = self.driver(ray=ray), time.monotonic()
            driver.begin(task)
            said = driver.listen()
            assert said.kind == "done", f"{task}: {said.text}"
            self.undisturbed[key] = (bits(task), said.progress, time.monotonic() - began)
            self.clear(task)
        return self.undisturbed[key]

    def end(self) -> None:
        for driver in self.drivers.values():
            driver.end()


@contextmanager
def stage(folder: Path, *, ray: bool, sooner: bool = True) -> Iterator[Stage]:
    """Set up a bucket and, with `ray`, a cluster of two nodes of a core each.

    With `sooner` drivers wait a second in place of half a minute to see whether another lives.
    """
    with ExitStack() as stack:
        for name in ("disk", "tmp", "files"):
            (folder / name).mkdir()
        root = str(folder / "disk")
        disk = Place(root, make_inputs(root, folder / "files"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        found = Stage(disk, {"TMPDIR": str(folder / "tmp")})
        stack.callback(found.end)
        found.proxy = stack.enter_context(s3_behind_proxy(patch))
        found.bucket = Place(_BUCKET, _uploaded(disk.inputs))
        found.settings |= {"XDG_CACHE_HOME": str(folder / "cache")}
        found.settings |= {n: v for n, v in os.environ.items() if n.startswith(("AWS_", "NO_P"))}
        found.settings |= {"SOAK_SOONER": "1"} if sooner else {}
        if ray:
            found.cluster = stack.enter_context(ray_nodes(**_SOONER, **found.settings))
            start_nodes(found.cluster)
        yield found


def _uploaded(inputs: Inputs) -> Inputs:
    """Return the inputs with their stores copied into the bucket."""
    fs, _ = urls.filesystem(_BUCKET)
    for name in ("model", "atlas"):
        fs.put(getattr(inputs, name), f"{_BUCKET}/{name}", recursive=True)
    return replace(inputs, model=f"{_BUCKET}/model", atlas=f"{_BUCKET}/atlas")
