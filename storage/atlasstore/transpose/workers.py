"""Who runs the tasks: threads of this process, or the workers of a Dask cluster.

Threads, because the loops (compiled), the codecs and file reads let go of the GIL, and because one
process has one memory to keep within bounds: a second process would cost 200 MB before its first
byte. Dask's own scheduler hands the tasks out in both cases.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import dask
from dask.callbacks import Callback

from atlasstore import memory
from atlasstore.errors import MissingExtraError, UserInputError, extra_packages
from atlasstore.transpose.plan import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Task = Callable[[], Any]
    OnDone = Callable[[Any], None]

__all__ = ["ClusterWorkers", "LocalWorkers", "Workers", "open_workers"]

_CONNECT_S = 30


class Workers(Protocol):
    """Runs independent tasks."""

    is_local: bool
    """Whether tasks run in this process and may share its objects."""

    def machine(self) -> Machine:
        """Return what a stage that begins now may use."""
        ...

    def run(self, tasks: Sequence[Task], *, n_workers: int, on_done: OnDone) -> None:
        """Run all tasks; call `on_done` with each result, in this thread, as they finish.

        The first error is raised when the tasks that are running have ended.
        """
        ...

    def map(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], *, n_workers: int
    ) -> Iterator[Any]:
        """Yield what `function` returns for each of `tasks`, in order; `n_workers` at a time."""
        ...


class LocalWorkers:
    """Threads of this process.

    Parameters
    ----------
    memory_bytes
        Bound on the process; half of what is free by default.
    cores
        Threads at most; as many as the process may use by default.
    """

    is_local = True

    def __init__(self, memory_bytes: int | None = None, cores: int | None = None) -> None:
        self._memory_bytes = memory_bytes or memory.resident_bytes() + memory.default_bytes()
        self._cores = cores or _usable_cores()

    def machine(self) -> Machine:
        """Return the bound, what the process holds now, and the threads."""
        return Machine(self._memory_bytes, _held_bytes(), self._cores)

    def run(self, tasks: Sequence[Task], *, n_workers: int, on_done: OnDone) -> None:
        """Run all tasks; see `Workers.run`."""
        if not tasks:
            return
        calls = [dask.delayed(task, pure=False)() for task in tasks]
        keys = {call.key for call in calls}

        def finished(key: Any, result: Any, *_: Any) -> None:
            if key in keys:
                on_done(result)

        with ThreadPoolExecutor(n_workers) as pool, Callback(posttask=finished):
            dask.compute(*calls, scheduler="threads", pool=pool, optimize_graph=False)

    def map(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], *, n_workers: int
    ) -> Iterator[Any]:
        """Yield results in order; see `Workers.map`."""
        with ThreadPoolExecutor(n_workers) as pool:
            yield from pool.map(function, tasks)


def _held_bytes() -> int:
    """Return what this process holds; what a stage frees from now on is not held."""
    memory.give_back_from_now_on()
    return memory.resident_bytes()


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ClusterWorkers:
    """The workers of a running Dask cluster; every file must be seen by all of them.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    memory_bytes
        Bound on each worker process; what the cluster gives its workers by default.
    """

    is_local = False

    def __init__(self, client: Any, memory_bytes: int | None) -> None:
        self._client, self._memory_bytes = client, memory_bytes

    def machine(self) -> Machine:
        """Return the bound of the smallest worker, what the fullest one holds, its threads."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        if not workers:
            raise UserInputError("the Dask cluster has no workers; start some first.")
        held = max(self._client.run(_held_bytes).values())
        limits = [int(worker["memory_limit"]) or memory.default_bytes() for worker in workers]
        threads = max(int(worker["nthreads"]) for worker in workers)
        return Machine(self._memory_bytes or int(0.6 * min(limits)), held, threads)

    def run(self, tasks: Sequence[Task], *, n_workers: int, on_done: OnDone) -> None:
        """Run all tasks, `n_workers` at a time in each process; see `Workers.run`."""
        from distributed import as_completed

        processes = len(self._client.scheduler_info(n_workers=-1)["workers"])
        waiting = iter(tasks)
        first = islice(waiting, n_workers * processes)
        running = as_completed([self._submit(task) for task in first], loop=self._client.loop)
        try:
            for future in running:
                on_done(future.result())
                future.release()
                for task in waiting:
                    running.add(self._submit(task))
                    break
        except BaseException:
            running.clear()
            raise

    def map(
        self, function: Callable[[Any], Any], tasks: Sequence[Any], *, n_workers: int
    ) -> Iterator[Any]:
        """Yield results in order; see `Workers.map`. The cluster decides how many at a time."""
        for future in self._client.map(function, tasks, pure=False):
            yield future.result()

    def _submit(self, task: Task) -> Any:
        return self._client.submit(task, pure=False)


@contextmanager
def open_workers(address: str | None, memory_bytes: int | None) -> Iterator[Workers]:
    """Yield this process's threads, or with an address the workers of that Dask cluster.

    Raises
    ------
    MissingExtraError, UserInputError
        The cluster's client is not installed, or no scheduler answers.
    """
    if address is None:
        yield LocalWorkers(memory_bytes)
        return
    with _client(address) as client:
        yield ClusterWorkers(client, memory_bytes)


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            "a Dask cluster needs an optional package; install it with: "
            f"pip install {extra_packages('dask')}."
        ) from error
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserInputError(
            f"no Dask scheduler answers at {address} ({error}); give the address that "
            "dask-scheduler prints, such as tcp://host:8786."
        ) from error
