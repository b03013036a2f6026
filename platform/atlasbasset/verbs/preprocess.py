"""`preprocess` and `append` with the workers of Ray: storage itself never imports Ray."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import atlasstore
from atlasbasset.batch.executor import RayExecutor, WorkerPool
from atlasstore import memory as memory_sizes
from atlasstore.events import Subscriber, ignore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from atlasstore import AppendReport, PreprocessReport
    from atlasstore.resume.units import Executor

__all__ = ["append", "preprocess"]


def preprocess(
    inputs: str | Path | Sequence[str | Path],
    *,
    genome: str | Path,
    out: str | Path,
    workers: int = 0,
    cpus_per_worker: float = 1,
    memory: str | int | None = None,
    on_event: Subscriber = ignore,
    **options: Any,
) -> PreprocessReport:
    """Make an atlas as `atlasstore.preprocess` does, which says what all other options are.

    Parameters
    ----------
    workers
        Ray Data actors that read inputs and write sequences and labels; 0 works in this process.
        Inputs, genome and output must be seen by all of them. The atlas is the same, byte for byte.
    cpus_per_worker
        What each worker reserves; it does one unit at a time.
    memory
        Bound on this process, or with workers on each of them.
    """
    with _executor(workers, cpus_per_worker, memory, on_event) as executor:
        return atlasstore.preprocess(
            inputs,
            genome=genome,
            out=out,
            memory=memory,
            executor=executor,
            on_event=on_event,
            **options,
        )


def append(
    inputs: str | Path | Sequence[str | Path],
    *,
    atlas: str | Path,
    workers: int = 0,
    cpus_per_worker: float = 1,
    memory: str | int | None = None,
    on_event: Subscriber = ignore,
    **options: Any,
) -> AppendReport:
    """Add samples to an atlas as `atlasstore.append` does; `workers` as for `preprocess`."""
    with _executor(workers, cpus_per_worker, memory, on_event) as executor:
        return atlasstore.append(
            inputs, atlas=atlas, memory=memory, executor=executor, on_event=on_event, **options
        )


@contextmanager
def _executor(
    workers: int, cpus: float, memory: str | int | None, on_event: Subscriber
) -> Iterator[Executor | None]:
    pool = WorkerPool(workers, cpus)
    bound = None if memory is None else memory_sizes.parse_size(memory)
    with pool.session(on_event):
        yield RayExecutor(pool, bound) if workers else None
