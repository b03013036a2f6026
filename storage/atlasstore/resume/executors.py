"""Who does the units: threads of this process, or the workers of a Dask cluster.

Threads, because the loops (compiled), the codecs and file reads let go of the GIL, and because one
process has one memory to keep within bounds: a second process would cost 200 MB before its first
byte.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from atlasstore import memory
from atlasstore.errors import MissingExtraError, UserInputError, extra_packages
from atlasstore.resume.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from atlasstore.resume.units import Executor, Receipt, Unit, Work

__all__ = ["DaskExecutor", "ThreadExecutor", "held_bytes", "open_executor"]


class ThreadExecutor:
    """Threads of this process.

    Parameters
    ----------
    memory_bytes
        Bound on the process; half of what is free by default.
    cores
        Threads at most; as many as the process may use by default.
    """

    def __init__(self, memory_bytes: int | None = None, cores: int | None = None) -> None:
        self._memory_bytes = memory_bytes or _default_bound()
        self.n_workers = cores or _usable_cores()

    def machine(self) -> Machine:
        """Return the bound, what the process holds now, and the threads."""
        return Machine(self._memory_bytes, held_bytes(self._memory_bytes), self.n_workers)

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Yield (index, receipt) of units as they finish; see `Executor.run`."""
        threads = min(at_once or self.n_workers, len(units))
        if threads <= 1:
            yield from ((index, work(unit)) for index, unit in enumerate(units))
            return
        getattr(work, "load", lambda: None)()
        with ThreadPoolExecutor(threads, thread_name_prefix="unit") as pool:
            begun = {pool.submit(work, unit): index for index, unit in enumerate(units)}
            try:
                for future in as_completed(begun):
                    yield begun[future], future.result()
            except BaseException:
                getattr(work, "stop", lambda: None)()
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def held_bytes(bound_bytes: int = 0) -> int:
    """Return what this process holds; what a stage frees from now on is not held.

    With the largest library, which is loaded only when an AnnData is read. Of a bound, see
    `memory.resident_bytes`.
    """
    import anndata  # noqa: F401

    memory.give_back_from_now_on()
    return memory.resident_bytes(bound_bytes=bound_bytes)


def _default_bound() -> int:
    free = memory.default_bytes()
    return memory.resident_bytes(bound_bytes=free) + free


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class DaskExecutor:
    """The workers of a running Dask cluster; every file must be seen by all of them.

    Parameters
    ----------
    client
        A ``distributed.Client``.
    memory_bytes
        Bound on each worker process; what the cluster gives its workers by default.
    """

    def __init__(self, client: Any, memory_bytes: int | None) -> None:
        self._client, self._memory_bytes = client, memory_bytes

    @property
    def n_workers(self) -> int:
        """Threads of all workers."""
        return sum(int(worker["nthreads"]) for worker in self._workers())

    def machine(self) -> Machine:
        """Return the bound of the smallest worker, what the fullest one holds, its threads."""
        workers = self._workers()
        if not workers:
            raise UserInputError("the Dask cluster has no workers; start some first.")
        held = max(self._client.run(held_bytes).values())
        limits = [int(worker["memory_limit"]) or memory.default_bytes() for worker in workers]
        threads = max(int(worker["nthreads"]) for worker in workers)
        return Machine(self._memory_bytes or int(0.6 * min(limits)), held, threads)

    def run(
        self, work: Work, units: Sequence[Unit], *, at_once: int | None = None
    ) -> Generator[tuple[int, Receipt], None, None]:
        """Yield (index, receipt) of units, `at_once` in each process; see `Executor.run`."""
        from distributed import as_completed as as_dask_completed

        workers = self._workers()
        most = len(workers) * (at_once or max((int(w["nthreads"]) for w in workers), default=1))
        held = self._client.scatter(work, broadcast=True, hash=False)
        waiting = iter(enumerate(units))
        running = as_dask_completed(
            [self._submit(held, *unit) for unit in islice(waiting, most)], loop=self._client.loop
        )
        try:
            for future in running:
                yield future.result()
                future.release()
                for unit in islice(waiting, 1):
                    running.add(self._submit(held, *unit))
        except BaseException:
            running.clear()
            raise

    def _submit(self, work: Any, index: int, unit: Unit) -> Any:
        return self._client.submit(_call, work, index, dict(unit), pure=False)

    def _workers(self) -> list[dict[str, Any]]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"].values())


def _call(work: Work, index: int, unit: Unit) -> tuple[int, Receipt]:
    return index, work(unit)


@contextmanager
def open_executor(
    address: str | None, memory_bytes: int | None, *, connect_s: float = 30
) -> Iterator[Executor]:
    """Yield this process's threads, or with an address the workers of that Dask cluster.

    Its scheduler is waited for `connect_s` seconds.

    Raises
    ------
    MissingExtraError, UserInputError
        The cluster's client is not installed, or no scheduler answers.
    """
    if address is None:
        yield ThreadExecutor(memory_bytes)
        return
    with _client(address, connect_s) as client:
        yield DaskExecutor(client, memory_bytes)


def _client(address: str, connect_s: float) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            "a Dask cluster needs an optional package; install it with: "
            f"pip install {extra_packages('dask')}."
        ) from error
    try:
        return Client(address, timeout=connect_s, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserInputError(
            f"no Dask scheduler answers at {address} ({error}); give the address that "
            "dask-scheduler prints, such as tcp://host:8786."
        ) from error
