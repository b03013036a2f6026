"""Starting the workers of a run: in this process, as local processes, or on a Ray cluster."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from atlasbasset.core.runtime import DistributedRuntime, LocalRuntime
from atlasbasset.engine.events import EpochEnd
from atlasbasset.engine.loop import Run, train_worker
from atlasstore.errors import AtlasError
from atlasstore.events import ignore
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlasstore.events import Subscriber

__all__ = ["run_in_process", "run_processes"]

_FOLLOW_S = 1.0


def run_in_process(run: Run, on_event: Subscriber) -> None:
    """Train with one worker in this process, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_worker(run, LocalRuntime(device), on_event)


def run_processes(run: Run, workers: int, on_event: Subscriber) -> None:
    """Train with `workers` processes of this machine in one process group (gloo or NCCL)."""
    threads = max(1, torch.get_num_threads() // workers)
    with tempfile.TemporaryDirectory() as folder, followed(run.model_url, on_event):
        meeting = (Path(folder) / "meeting").as_uri()
        spawn(_process, args=(run, workers, meeting, threads), nprocs=workers)


def _process(rank: int, run: Run, workers: int, meeting: str, threads: int) -> None:
    use_threads(threads)
    gpu = torch.cuda.device_count() >= workers
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    backend = "nccl" if gpu else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=workers)
    try:
        train_worker(run, DistributedRuntime(device), ignore)
    finally:
        dist.destroy_process_group()


def use_threads(threads: int) -> None:
    """Use this many CPU threads in this process, in torch and in the fused passes."""
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:  # never later: numba reads it anew when it compiles, and refuses another number then
        os.environ["NUMBA_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)  # last: numba, when it starts, changes torch's number


@contextmanager
def followed(model_url: str, on_event: Subscriber) -> Iterator[None]:
    """Report epochs that other processes finish, from what they write into the model store."""
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(model_url, on_event, stop), daemon=True)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


def _follow(model_url: str, on_event: Subscriber, stop: threading.Event) -> None:
    seen = len(_history_if_readable(model_url))
    while True:
        stopping = stop.wait(_FOLLOW_S)
        history = _history_if_readable(model_url)
        for record in history[seen:]:
            on_event(EpochEnd(record))
        seen = max(seen, len(history))
        if stopping:
            return


def _history(model_url: str) -> list[dict[str, object]]:
    checkpoint = ModelStore.open(model_url).latest()
    return [] if checkpoint is None else list(checkpoint.state["history"])


def _history_if_readable(model_url: str) -> list[dict[str, object]]:
    try:
        return _history(model_url)
    except (AtlasError, OSError):
        return []  # a passing fault of the store: look again next time
