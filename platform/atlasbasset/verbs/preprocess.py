"""`preprocess` and `append` with the workers of Ray: storage itself never imports Ray."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import atlasstore
from atlasbasset.batch.executor import RayExecutor, WorkerPool
from atlasstore import memory as memory_sizes
from atlasstore.progress import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData

    from atlasstore import AppendReport, PreprocessReport
    from atlasstore.events import Subscriber
    from atlasstore.resume.units import Executor

__all__ = ["append", "preprocess"]


def preprocess(
    inputs: str | Path | AnnData | Sequence[str | Path | AnnData],
    *,
    genome: str | Path,
    out: str | Path,
    workers: int = 0,
    cpus_per_worker: float = 1,
    memory: str | int | None = None,
    on_event: Subscriber | None = None,
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

    Examples
    --------
    >>> preprocess(
    ...     "samples/*.h5ad", genome="genome.fa", out="s3://bucket/atlas.zarr", workers=8
    ... )  # doctest: +SKIP
    """
    with (
        shown(on_event) as subscriber,
        _executor(workers, cpus_per_worker, memory, subscriber) as executor,
    ):
        return atlasstore.preprocess(
            inputs,
            genome=genome,
            out=out,
            memory=memory,
            executor=executor,
            on_event=subscriber,
            **options,
        )


def append(
    inputs: str | Path | AnnData | Sequence[str | Path | AnnData],
    *,
    atlas: str | Path,
    workers: int = 0,
    cpus_per_worker: float = 1,
    memory: str | int | None = None,
    on_event: Subscriber | None = None,
    **options: Any,
) -> AppendReport:
    """Add samples to an atlas as `atlasstore.append` does; `workers` as for `preprocess`.

    Examples
    --------
    >>> append("new_donor.h5ad", atlas="atlas.zarr", workers=4)  # doctest: +SKIP
    """
    with (
        shown(on_event) as subscriber,
        _executor(workers, cpus_per_worker, memory, subscriber) as executor,
    ):
        return atlasstore.append(
            inputs, atlas=atlas, memory=memory, executor=executor, on_event=subscriber, **options
        )


@contextmanager
def _executor(
    workers: int, cpus: float, memory: str | int | None, on_event: Subscriber
) -> Iterator[Executor | None]:
    pool = WorkerPool(workers, cpus)
    bound = None if memory is None else memory_sizes.parse_size(memory)
    with pool.session(on_event):
        yield RayExecutor(pool, bound) if workers else None
