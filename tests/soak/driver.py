"""A process that does one task after the other, and stops where it is told to be struck."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import psutil

from denoise_process import small_units
from soak.work import Task, do

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

_VERBS = ("denoise.denoise", "ism.ism", "map_cells.map_cells", "motifs.motifs", "train.train")
_PRELOADED = [
    *("soak.work", "soak.driver", "Bio.bgzf", "anndata", "s3fs", "sklearn.linear_model"),
    *(f"atlasbasset.verbs.{verb}" for verb in (*_VERBS, "preprocess")),
]
_LONGEST_S = 240.0
_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000  # of clone(2)
OWN_DISK = "soak-own-disk"
"""Name of a folder, and of a setting with its path, where a driver mounts a disk of its own."""


@dataclass(frozen=True)
class Said:
    """What a driver tells."""

    kind: Literal["moment", "done", "failed", "lost", "silent"]
    """Stopped at the moment; the task is done, or has failed; the process has died, or hangs."""
    text: str = ""
    progress: int = 0
    """Events so far that told of progress."""
    rss: int = 0
    """Bytes that the process holds."""


class Driver:
    """The process, seen from the one that disturbs it."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        self._ours, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, dict(settings)))
        self.process.start()
        theirs.close()
        self.held: list[int] = []
        """Bytes after each task."""

    def begin(self, task: Task) -> None:
        """Let it do a task."""
        self._ours.send(task)

    def go_on(self) -> None:
        """Let it go on from its moment."""
        self._ours.send(None)

    def listen(self, timeout_s: float = _LONGEST_S) -> Said:
        """Wait for what it has to say."""
        try:
            if not self._ours.poll(timeout_s):
                return Said("silent", f"nothing was heard for {timeout_s:.0f} s")
            said: Said = self._ours.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return Said("lost", f"the driver ended with {self.process.exitcode}")
        if said.kind in ("done", "failed"):
            self.held.append(said.rss)
        return said

    def has_spoken(self, within_s: float) -> bool:
        """Whether something can be heard, or it has died."""
        return self._ours.poll(within_s)

    def end(self) -> None:
        """End it, with all its children."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
        self.process.kill()
        self.process.join()


def disk_of(driver: Driver, url: str) -> str:
    """Return the URL by which another process sees an output, which may be on the driver's disk."""
    seen = Path(f"/proc/{driver.process.pid}/root{url}")
    return str(seen) if OWN_DISK in Path(url).parts else url


def _mount(place: str) -> None:
    """Mount a small disk that this process alone sees, and who looks through it."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    _call(libc.unshare(_NEW_MOUNTS | _NEW_USER))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _call(libc.mount(b"none", place.encode(), b"tmpfs", 0, b"size=8m"))


def _call(code: int) -> None:
    if code:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _serve(connection: Connection, settings: dict[str, str]) -> None:
    os.environ.update(settings)
    tempfile.tempdir = settings.get("TMPDIR")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as the command line does
    if OWN_DISK in settings:
        _mount(settings[OWN_DISK])
    small_units()
    gc.freeze()  # what was imported is not looked through again by every collection
    if "SOAK_SOONER" in settings:
        _wait_less()
    while True:
        task: Task | None = connection.recv()
        if task is not None:  # what a struck attempt was to be told when it had ended
            connection.send(_done(task, connection))


def _wait_less() -> None:
    """Give up a failing server, and a dead holder of a claim, after seconds."""
    import botocore.retryhandler
    from fsspec.config import conf

    from atlasstore.files import locks

    botocore.retryhandler.random = SimpleNamespace(random=lambda: 0.01)
    conf["s3"] = {"config_kwargs": {"retries": {"mode": "legacy", "total_max_attempts": 5}}}
    locks.TIMES = locks.Times(beat_s=0.3, stale_s=2.0, pause_s=0.2)


def _done(task: Task, connection: Connection) -> Said:
    hears = _Subscriber(task, connection)
    try:
        if task.moment == 0:
            _stop_before_publishing(hears)
        do(task, hears)
        kind, text = "done", ""
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - who disturbs looks at it
        kind, text = "failed", f"{type(error).__name__}: {error}"
    finally:
        _publish_as_ever()
    gc.collect()
    rss = psutil.Process().memory_info().rss
    return Said(kind, text, hears.progress, rss)  # type: ignore[arg-type]


class _Subscriber:
    def __init__(self, task: Task, connection: Connection) -> None:
        self._task, self._connection = task, connection
        self.progress = 0

    def __call__(self, event: Any) -> None:
        name = type(event).__name__
        counted = ("StepDone", "EpochEnd") if self._task.verb == "train" else ("Progress",)
        if name not in counted:
            return
        self.progress += 1
        if self.progress == self._task.moment:
            self.stop(f"{name} {getattr(event, 'stage', '')}".strip())

    def stop(self, where: str) -> None:
        """Tell that the moment has come, and wait."""
        self._connection.send(Said("moment", where, self.progress))
        while not self._connection.poll(0.05):
            time.sleep(0)  # where a signal is heard
        self._connection.recv()


def _stop_before_publishing(hears: _Subscriber) -> None:
    from atlasbasset.batch.job import ResumableJob

    plain = _kept.setdefault("publish", ResumableJob.publish)

    def publish(job: Any, *args: Any, **options: Any) -> None:
        hears.stop("publishing")
        plain(job, *args, **options)

    ResumableJob.publish = publish  # type: ignore[method-assign]


def _publish_as_ever() -> None:
    from atlasbasset.batch.job import ResumableJob

    if "publish" in _kept:
        ResumableJob.publish = _kept["publish"]  # type: ignore[method-assign]


_kept: dict[str, Any] = {}
