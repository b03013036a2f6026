"""A look at the cluster before work begins on it, by the nodes that will do the work."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlasbasset.cluster.ray_session import ray_session
from atlasbasset.cluster.worker_probe import (
    WorkerFound,
    look_around,
    own_versions,
    probe_failure,
)
from atlasstore.errors import UserInputError
from atlasstore.events import Notice
from atlasstore.text_units import duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlasstore.events import Subscriber

__all__ = ["Needs", "look_on_workers", "preflight"]

_MOST_PROBES = 64
"""Of a large cluster so many workers look; the others have the same image."""
_TELL_S = 30
_PATIENCE_S = 3
"""A cluster that has what is needed gives it in this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a job needs of a cluster."""

    reads: tuple[str, ...] = ()
    """Paths and URLs that workers open."""
    writes: tuple[str, ...] = ()
    """Paths and URLs next to which they write."""
    workers: int = 0
    """Processes that are needed at once; 0: the job's own process alone."""
    cpus: float = 1
    """Cores of each."""
    gpus: float = 0
    """GPUs of each."""
    wait_s: float = 600.0
    """How long the cluster may take to have them, in seconds."""

    @property
    def said(self) -> str:
        """The workers in words."""
        gpus = f" and {_several(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{_several(self.workers, 'worker')} of {_several(self.cpus, 'CPU')}{gpus}"


def preflight(
    needs: Needs,
    on_event: Subscriber,
    *,
    look: Callable[[Needs, Subscriber], list[WorkerFound]] | None = None,
) -> list[WorkerFound]:
    """Check that the cluster can do the work; what is found is told by notices.

    Parameters
    ----------
    look
        Finds what workers see; by default `look_on_workers`, or this process where none is needed.

    Returns
    -------
    What each worker that looked has found.

    Raises
    ------
    UserInputError
        The cluster does not get what is needed in time, versions differ, workers see no GPU, or
        storage does not open for them.
    """
    begun = time.monotonic()
    found = (look or (look_on_workers if needs.workers else _look_here))(needs, on_event)
    _check(found, needs)
    for line in _lines(found, needs):
        on_event(Notice(f"preflight: {line}"))
    on_event(Notice(f"preflight: passed in {duration(time.monotonic() - begun)}"))
    return found


def look_on_workers(needs: Needs, on_event: Subscriber) -> list[WorkerFound]:
    """Reserve all workers on Ray, look around in them, and give them back."""
    with ray_session({}, on_event):
        return _probe(needs, on_event)


def _look_here(needs: Needs, _: Subscriber) -> list[WorkerFound]:
    return [look_around(needs.reads, needs.writes)]


def _probe(needs: Needs, on_event: Subscriber) -> list[WorkerFound]:
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    bundle = {"CPU": needs.cpus} | ({"GPU": needs.gpus} if needs.gpus else {})
    group = placement_group([bundle] * needs.workers, strategy="PACK")
    try:
        _wait(group, needs, on_event)
        asked = [_look(group, index, needs) for index in range(min(needs.workers, _MOST_PROBES))]
        found: list[WorkerFound] = ray.get(asked)
    except ray.exceptions.RayError as error:
        raise probe_failure(error) from error
    finally:
        remove_placement_group(group)
    return found


def _look(group: Any, index: int, needs: Needs) -> Any:
    import ray
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
    look: Any = ray.remote(look_around).options(
        num_cpus=needs.cpus, num_gpus=needs.gpus, scheduling_strategy=place
    )
    return look.remote(needs.reads, needs.writes)


def _wait(group: Any, needs: Needs, on_event: Subscriber) -> None:
    """Wait until all workers have their places, and tell of it now and then."""
    until = time.monotonic() + needs.wait_s
    slice_s = _PATIENCE_S
    while not group.wait(timeout_seconds=slice_s):
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise UserInputError(
                f"the cluster did not give {needs.said} in {duration(needs.wait_s)} ({_present()});"
                " ask for fewer or smaller workers, add nodes, or wait longer by --wait."
            )
        on_event(Notice(f"preflight: waiting for {needs.said} ({_present()})"))
        slice_s = max(1, min(_TELL_S, int(left_s)))  # Ray waits whole seconds


def _present() -> str:
    import ray

    total, free = ray.cluster_resources(), ray.available_resources()
    parts = [
        f"{_several(total[name], name)}, {free.get(name, 0):g} free"
        for name in ("CPU", "GPU")
        if total.get(name)
    ]
    return f"it has {' and '.join(parts) or 'neither CPUs nor GPUs'}"


def _check(found: Sequence[WorkerFound], needs: Needs) -> None:
    """Raise for the first of what would make the work fail later."""
    own = own_versions()
    for worker in found:
        for name, version in worker.versions.items():
            if version != own[name]:
                raise UserInputError(
                    f"{worker.node} has {name} {version}, the head has {own[name]}; install the "
                    "same version on every node."
                )
        if needs.gpus and not worker.gpu_names:
            raise UserInputError(
                f"torch sees no GPU on {worker.node}, which Ray gave {_several(needs.gpus, 'GPU')};"
                " check the node's driver and that torch was installed with CUDA."
            )
        if worker.faults:
            raise UserInputError(
                f"{'; '.join(worker.faults)}; check the URL and the workers' credentials."
            )


def _lines(found: Sequence[WorkerFound], needs: Needs) -> list[str]:
    nodes = sorted({worker.node for worker in found})
    names = ", ".join(nodes[:4]) + (", ..." if len(nodes) > 4 else "")
    who = needs.said if needs.workers else "the job's own process"
    versions = ", ".join(f"{name} {version}" for name, version in found[0].versions.items())
    places = [f"{place} can be read" for place in needs.reads]
    places += [f"{place} can be written" for place in needs.writes]
    return [
        f"{who} on {names}",
        versions,
        f"memory: {size(min(worker.free_bytes for worker in found))} free on a node",
        *_gpu_lines(found),
        *places,
    ]


def _gpu_lines(found: Sequence[WorkerFound]) -> list[str]:
    names = sorted({name for worker in found for name in worker.gpu_names})
    free = [worker.gpu_bytes for worker in found if worker.gpu_bytes is not None]
    return [f"GPUs: {', '.join(names)}, {size(min(free))} free"] if free else []


def _several(number: float, what: str) -> str:
    return f"{number:g} {what}{'' if number == 1 else 's'}"
