"""Starting the workers of a run: in this process, as local processes, or on a Ray cluster."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from atlasbasset.core.runtime import DistributedRuntime, LocalRuntime
from atlasbasset.engine.events import EpochEnd
from atlasbasset.engine.interrupts import EndAsked
from atlasbasset.engine.loop import Run, train_worker
from atlasstore.errors import AtlasError
from atlasstore.events import Notice, ignore
from atlasstore.models.model_store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.process import BaseProcess

    from torch.multiprocessing.spawn import ProcessContext

    from atlasstore.events import Subscriber

__all__ = ["run_in_process", "run_processes"]

_FOLLOW_S = 1.0
_END = "end"
"""File that asks the processes to end."""
_INTERRUPTS = {signal.SIGINT, signal.SIGTERM}
END_S = 25.0
"""How long workers may take to write a checkpoint and end; clusters kill half a minute after
SIGTERM."""


def run_in_process(run: Run, on_event: Subscriber) -> None:
    """Train with one worker in this process, on a GPU where there is one."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_worker(run, LocalRuntime(device), on_event)


def run_processes(run: Run, workers: int, on_event: Subscriber) -> None:
    """Train with `workers` processes of this machine in one process group (gloo or NCCL).

    An interrupt of this process lets them write a checkpoint and end.
    """
    threads = max(1, torch.get_num_threads() // workers)
    with tempfile.TemporaryDirectory() as folder, followed(run.model_url, on_event):
        group = _started(run, workers, folder, threads)
        try:
            while not group.join():
                pass
        except KeyboardInterrupt:
            Path(folder, _END).touch()
            _let_end(group.processes)
            raise


def _started(run: Run, workers: int, folder: str, threads: int) -> ProcessContext:
    """Start the processes; the signals that interrupt us wait meanwhile, and wait for them too."""
    resource_tracker.ensure_running()  # which would let them come
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        group: ProcessContext | None = spawn(
            _process, args=(run, workers, folder, threads, os.getpid()), nprocs=workers, join=False
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if group is None:
        raise RuntimeError("the processes were not started")
    return group


def _let_end(processes: Sequence[BaseProcess]) -> None:
    """Wait for the processes to end, but not for ever."""
    until = time.monotonic() + END_S
    for process in processes:
        process.join(max(0.0, until - time.monotonic()))
    for process in processes:
        process.kill()
        process.join()


def _process(rank: int, run: Run, workers: int, folder: str, threads: int, parent: int) -> None:
    _leave_interrupts_to(parent)
    use_threads(threads)
    gpu = torch.cuda.device_count() >= workers
    device = torch.device("cuda", rank) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)
    backend, meeting = "nccl" if gpu else "gloo", Path(folder, "meeting").as_uri()
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=workers)
    try:
        end_asked = EndAsked(Path(folder, _END))
        train_worker(run, DistributedRuntime(device), ignore, end_asked=end_asked)
    finally:
        dist.destroy_process_group()


def _leave_interrupts_to(parent: int) -> None:
    """Go on when a signal comes to all of a group, as the parent asks us; end without a parent."""

    def hear(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(1)

    for number in _INTERRUPTS:
        signal.signal(number, hear)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
    hear()


def use_threads(threads: int) -> None:
    """Use this many CPU threads in this process, in torch and in the fused passes."""
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    else:  # never later: numba reads it again when it compiles, and refuses another number then
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
    seen, shown = (len(part) for part in _record_if_readable(model_url))
    while True:
        stopping = stop.wait(_FOLLOW_S)
        history, notices = _record_if_readable(model_url)
        for message in notices[shown:]:
            on_event(Notice(message))
        for record in history[seen:]:
            on_event(EpochEnd(record))
        seen, shown = max(seen, len(history)), max(shown, len(notices))
        if stopping:
            return


def _record(model_url: str) -> tuple[list[dict[str, object]], list[str]]:
    """Return the epochs' records and what else a person should know."""
    checkpoint = ModelStore.open(model_url).latest()
    if checkpoint is None:
        return [], []
    return list(checkpoint.state["history"]), list(checkpoint.state.get("notices", []))


def _record_if_readable(model_url: str) -> tuple[list[dict[str, object]], list[str]]:
    try:
        return _record(model_url)
    except (AtlasError, OSError):
        return [], []  # a passing fault of the store: look again next time
