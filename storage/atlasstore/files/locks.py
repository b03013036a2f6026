"""One writer at a time: a lock on a store that is released when its process ends.

On a local path the claim is the operating system's lock on the file ``.claim``, which the kernel
takes back however its holder ends. Elsewhere, and on file systems without locks, it is a record
``.claim`` that its holder renews every few seconds. Who finds such a record watches it: when it is
renewed, its holder lives and the claim is refused; when nothing happens for half a minute, its
holder is dead and the record is replaced. Only the watcher's own clock counts: clocks need not
agree.

Of two that find no record, the one whose record the server creates first holds. Not covered: a
holder that stands still for longer than that (a suspended machine) and then goes on finds its
record replaced, and can only say so. Two that replace a dead holder's record within the same
second, and two claims on a server without conditional creation, are distinguished by reading back
after a pause: the one written last holds.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlasstore.errors import AtlasError, UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.files.create import create_bytes
from atlasstore.files.json_text import parsed_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlasstore.events import Subscriber

__all__ = ["TIMES", "Times", "claimed", "file_lock", "lock_folder"]

_FILE = ".claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How a record is kept and watched, in seconds."""

    beat_s: float = 5.0
    """Between two renewals."""
    stale_s: float = 30.0
    """Without a renewal, after which its holder is dead."""
    pause_s: float = 1.0
    """After which a record is read back."""


TIMES = Times()


@contextmanager
def claimed(
    url: str | Path, *, times: Times | None = None, on_event: Subscriber = ignore
) -> Iterator[None]:
    """Hold the only claim on the store at `url` within the block.

    Parameters
    ----------
    url
        Of a store.
    times
        Of a record, where the operating system locks no file; by default `TIMES`.
    on_event
        Called with a `Notice` where another's record is found or has replaced this one.

    Raises
    ------
    UserInputError
        A living process, here or elsewhere, holds it.
    """
    place = urls.join(url, _FILE)
    lock = file_lock(place) if urls.is_local(url) else None
    if lock is not None:
        try:
            yield
        finally:
            os.close(lock)
        return
    record = _Record(place, on_event, times or TIMES)
    try:
        record.acquire()
        yield
    finally:
        record.release()


def file_lock(place: str) -> int | None:
    """Lock a local file; return the descriptor that holds the lock until it is closed.

    The lock goes when the process does. None on a file system without locks, where nothing is
    known of other processes.

    Raises
    ------
    UserInputError
        Another process holds it, or the file cannot be written.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    # not inherited by child processes, which would otherwise hold the lock as well
    try:
        file = os.open(urls.local_path(place), os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError as error:
        raise UserInputError(
            f"{place} cannot be written: no permission; choose a folder of yours, or another --out."
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"process": _process()}).encode())
    except BlockingIOError:
        held_by = os.read(file, 4096).decode(errors="replace")
        os.close(file)
        raise _refusal(place, _holder(held_by)) from None
    except OSError:  # a file system without locks
        os.close(file)
        return None
    return file


def lock_folder(path: Path) -> int | None:
    """Lock a local folder; return what holds the lock until it is closed or the process ends.

    None where another process holds it, and on file systems without locks.
    """
    if sys.platform == "win32":
        return None
    import fcntl

    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(folder)
        return None
    return folder


class _Record:
    """A claim by a record that a thread renews."""

    def __init__(self, place: str, on_event: Subscriber, times: Times) -> None:
        self._place, self._on_event, self._times = place, on_event, times
        self._id, self._beats = uuid.uuid4().hex, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="claim")

    def acquire(self) -> None:
        """Write the record once no living process has one, and begin to renew it."""
        while not create_bytes(self._place, self._record()):
            found = _read(self._place)
            if self._is_mine(found):  # created, and the answer was lost
                break
            if found is not None and self._watch(found):
                self._write()
                break
        time.sleep(self._times.pause_s)
        if not self._is_mine(found := _read(self._place)):
            raise _refusal(self._place, _holder(found))
        self._thread.start()

    def release(self) -> None:
        """Stop renewing; delete the record unless somebody else has replaced it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(AtlasError, OSError):  # left behind it costs the next run half a minute
            if self._is_mine(_read(self._place)):
                urls.delete(self._place)

    def _watch(self, found: str) -> bool:
        """Return whether the record is still there, left alone; refuse when it is renewed."""
        self._on_event(
            Notice(
                f"Waiting {self._times.stale_s:.0f} s to see whether {_holder(found)}, which was "
                f"working here, still is."
            )
        )
        until = time.monotonic() + self._times.stale_s
        while time.monotonic() < until:
            time.sleep(min(self._times.beat_s, self._times.stale_s) / 2)
            now = _read(self._place)
            if now is None:
                return False
            if now != found:
                raise _refusal(self._place, _holder(now))
        return True

    def _renew(self) -> None:
        while not self._stop.wait(self._times.beat_s):
            try:
                if not self._is_mine(found := _read(self._place)):
                    said = f"{_holder(found)} has taken over {self._place}; stop this process."
                    self._on_event(Notice(said))
                    return
                self._write()
            except (AtlasError, OSError):
                continue  # a passing fault of the store

    def _write(self) -> None:
        urls.write_bytes(self._place, self._record())

    def _record(self) -> bytes:
        self._beats += 1
        record = {"id": self._id, "process": _process(), "beats": self._beats}
        return json.dumps(record).encode()

    def _is_mine(self, found: str | None) -> bool:
        return found is not None and self._id in found


def _read(place: str) -> str | None:
    return urls.read_bytes(place).decode(errors="replace") if urls.exists(place) else None


def _process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


def _holder(record: str | None) -> str:
    """Return who holds a claim, from its record."""
    try:
        return str(parsed_json(record or "")["process"])
    except (ValueError, KeyError, TypeError):
        return "another process"


def _refusal(place: str, holder: str) -> UserInputError:
    return UserInputError(
        f"{holder} is working on {place.rpartition('/')[0]}; wait until it ends or stop it, "
        "or give another output."
    )
