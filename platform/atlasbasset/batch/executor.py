"""Who computes: this process, or actors of Ray Data (`atlasstore.resume.units`).

Ray starts a dead actor again and gives it the unit again. The work travels once to each node, whose
actors share its arrays; of units only a few JSON values travel.
"""

from __future__ import annotations

import json
import os
import socket
import time
import traceback
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from logging import StreamHandler, getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasbasset.batch.attempts import actor_number, check_attempt, start_attempts
from atlasbasset.batch.events import BatchBegin, BatchEnd, BatchError
from atlasbasset.cluster.event_log import handed_on, logged
from atlasbasset.cluster.metrics import UnitMetrics
from atlasbasset.cluster.ray_session import ray_session
from atlasbasset.engine.compilation import telling_compilation
from atlasstore import errors, memory
from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import ignore
from atlasstore.files import urls
from atlasstore.resume.executors import ThreadExecutor, held_bytes
from atlasstore.resume.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from contextlib import AbstractContextManager

    from ray.data import Dataset

    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Executor, Receipt, Unit, Work

__all__ = ["RayExecutor", "WorkerPool"]

_TRACEBACK = "traceback"
_LAST_LINES = 12
"""Of a traceback that the driver shows; the worker's log has all."""


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """Who computes.

    Raises
    ------
    UserInputError
        For numbers that make no sense.
    """

    count: int = 0
    """Ray Data actors; 0 is this process, without Ray."""
    cpus: float = 1
    """CPU cores of an actor; it uses as many threads."""
    gpus: float = 0
    """GPUs of an actor; several share one by a fraction."""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise UserInputError(f"workers must be 0 (this process) or more, got {self.count}.")
        if not (self.cpus > 0 and self.gpus >= 0):
            raise UserInputError(
                f"a worker needs more than 0 CPUs and no less than 0 GPUs, got {self.cpus:g} and "
                f"{self.gpus:g}."
            )
        if self.gpus and not self.count:
            raise UserInputError(
                "gpus per worker were given without workers; ask for --workers 1 or more (this "
                "process alone takes a GPU by itself where there is one)."
            )
        if self.cpus != 1 and not self.count:
            raise UserInputError(
                f"{self.cpus:g} CPUs per worker were given without workers; ask for --workers 1 or "
                "more (this process alone uses the cores it finds)."
            )

    @property
    def device(self) -> str | None:
        """Where an actor computes; None in this process: what torch finds."""
        return None if not self.count else "cuda" if self.gpus else "cpu"

    @property
    def executor(self) -> Executor:
        """What runs the units: threads here, or actors of the Ray that `session` has joined."""
        return RayExecutor(self) if self.count else ThreadExecutor()

    def session(self, on_event: Subscriber) -> AbstractContextManager[None]:
        """Return a context in which stages share one Ray; in this process, compiling is told."""
        if not self.count:
            return telling_compilation(on_event)
        needed = {"CPU": self.count * self.cpus}
        if self.gpus:
            needed["GPU"] = self.count * self.gpus
        return ray_session(needed, on_event)

    def worker_url(self, url: str | Path) -> str:
        """Return `url` as the workers can open it: a path made absolute.

        Raises
        ------
        UserInputError
            When it is in this process's memory and the workers are others.
        """
        if self.count and str(url).startswith("memory:"):
            raise UserInputError(
                f"{url} is in the memory of this process, where workers cannot reach it; use "
                "--workers 0, or a path or URL that every worker can open."
            )
        return urls.absolute(url)


class RayExecutor:
    """Actors of Ray Data, one unit at a time each.

    Parameters
    ----------
    pool
        How many, and what each reserves.
    memory_bytes
        Bound on each actor; by default its share of what is free on the node that has least.
    """

    def __init__(self, pool: WorkerPool, memory_bytes: int | None = None) -> None:
        self._pool, self._memory_bytes = pool, memory_bytes

    @property
    def n_workers(self) -> int:
        """Actors."""
        return self._pool.count

    def machine(self) -> Machine:
        """Return what one actor may use; asked on the cluster's nodes, not on the driver."""
        free, held = _least_free_share()
        return Machine(self._memory_bytes or held + free, held, max(1, int(self._pool.cpus)))

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Yield (index, receipt) of units as they finish; see `Executor.run`."""
        del at_once  # an actor does one at a time, with as many threads as it has CPUs
        dataset = _dataset(units, work, self._pool)
        dataset.context.enable_progress_bars = False
        dataset.context.print_on_execution_start = False
        # closed at once, as the next dataset's log would else take this one's place
        rows: Any = iter(dataset.iter_rows())
        with _quiet_console(), closing(rows):
            for row in rows:
                if kind := row["error"]:
                    raise _error(kind, row["value"], row["node"])
                yield row["index"], json.loads(row["value"])


def _least_free_share() -> tuple[int, int]:
    """Return what is free for each CPU on the node that has least, and what a worker holds."""
    import ray

    probe = ray.remote(num_cpus=0)(_probe)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = [
        probe.options(resources={_node_resource(node): 0.001}).remote(node["Resources"]["CPU"])
        for node in nodes
    ]
    found = ray.get(asked)
    return min(free for free, _ in found), max(held for _, held in found)


def _node_resource(node: dict[str, Any]) -> str:
    names = (str(name) for name in node["Resources"] if name.startswith("node:"))
    return next(name for name in names if "head" not in name)


def _probe(n_cpus: float) -> tuple[int, int]:
    return int(memory.default_bytes() / max(1.0, n_cpus)), held_bytes()


def _error(kind: str, value: str, node: str) -> Exception:
    """Return the error of an actor as it was raised there, with its node in a note."""
    if kind == OSError.__name__:
        number, message = json.loads(value)
        return OSError(number, f"{message} (on {node})")
    if kind != _TRACEBACK:
        error = errors.of_class(kind, value)
        error.add_note(f"on {node}")
        return error
    sentence, lines = json.loads(value)
    failed = AtlasError(sentence)
    for line in (f"on {node}:", *lines):
        failed.add_note(line)
    return failed


def _dataset(units: Sequence[Unit], work: Work, pool: WorkerPool) -> Dataset:
    import ray
    from ray.data import ActorPoolStrategy, from_items

    items = [{"index": index, "unit": dict(unit)} for index, unit in enumerate(units)]
    return from_items(items, override_num_blocks=len(items)).map(
        _Actor,  # type: ignore[arg-type]  # a class is allowed
        fn_constructor_args=(partial(ray.get, ray.put(work)), start_attempts(), str(Path.cwd())),
        # one at a time: a unit queued behind a long one would wait while another actor is idle
        compute=ActorPoolStrategy(
            size=min(pool.count, len(units)), max_tasks_in_flight_per_actor=1
        ),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
        runtime_env={"env_vars": _threads(pool) | handed_on()},
    )


def _threads(pool: WorkerPool) -> dict[str, str]:
    """Return what torch and numba read when first imported, one count for both.

    Set later, numba would keep its own and, when it starts its threads, make it torch's too.
    """
    threads = str(max(1, int(pool.cpus)))
    return dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)


class _Actor:
    """Does the work, whose arrays are read where the node's object store holds them.

    Rows travel as JSON text, so that all have one schema. Its rank, in logs and metrics, is its
    number among the actors of the stage.
    """

    def __init__(self, get_work: Callable[[], Work], attempts: Any, folder: str) -> None:
        self._work, self._attempts = get_work(), attempts
        rank = actor_number(attempts)
        self._node, self._metrics = socket.gethostname(), UnitMetrics(rank)
        self._log, self._stage = logged(ignore, rank=rank), str(getattr(self._work, "stage", ""))
        with suppress(OSError):  # a relative path means the same here, where the folder is shared
            os.chdir(folder)

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        try:
            check_attempt(self._attempts, item["index"], item["unit"])
            value, kind = json.dumps(self._told(item["unit"])), ""
        except AtlasError as error:
            value, kind = str(error), type(error).__name__
        except OSError as error:  # a full disk, a store that cannot be reached
            value, kind = json.dumps([error.errno, str(error)]), OSError.__name__
        except Exception as error:
            getLogger(__name__).exception("unit %s", item["unit"])  # for the worker's own log
            lines = "".join(traceback.format_exception(error)).splitlines()[-_LAST_LINES:]
            value, kind = json.dumps([_sentence(error, item["unit"]), lines]), _TRACEBACK
        return {"index": item["index"], "value": value, "error": kind, "node": self._node}

    def _told(self, unit: Unit) -> Receipt:
        """Do a unit; tell log and metrics."""
        began = time.perf_counter()
        self._log(BatchBegin(self._stage, unit))
        try:
            receipt = self._work(unit)
        except Exception as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            self._log(BatchError(self._stage, unit, said, traceback.format_exc()))
            raise
        seconds, n_bytes = time.perf_counter() - began, int(receipt.get("bytes", 0))
        self._metrics.unit(seconds, n_bytes)
        self._log(BatchEnd(self._stage, unit, seconds, n_bytes))
        return receipt


def _sentence(error: Exception, unit: Unit) -> str:
    """Say what failed where, without line breaks, and what to do where that is known."""
    name, said = type(error).__name__, " ".join(str(error).split()).rstrip(".")
    where = ", ".join(f"{key} {value}" for key, value in unit.items())
    failure = f"a worker failed at {where} with {name}{f': {said}' if said else ''}"
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":  # torch's own, of a GPU
        return (
            f"{failure}; use fewer --workers on a machine (a larger share of the GPU for each "
            "where they share one), or machines with more memory, then run the same again."
        )
    return f"{failure}; what is done is kept."


@contextmanager
def _quiet_console() -> Iterator[None]:
    """Leave what goes well to our own events; Ray Data's log file still gets all."""
    handlers = [h for h in getLogger("ray.data").handlers if isinstance(h, StreamHandler)]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel("ERROR")
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
