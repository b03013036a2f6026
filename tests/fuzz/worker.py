"""A process that reads changed files, one after the other, and is replaced when it dies.

The parent has imported everything and started no thread, so that a new worker is a fork: ready in
milliseconds. What a reader may take is bounded: memory in the worker itself, time by the parent.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlasstore.errors import AtlasError, UserInputError
from fuzz.forked import fork_programs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzz.target import Step, Target

__all__ = ["Outcome", "Worker"]

MEMORY_BYTES = 3 << 30
"""Address space beyond what the worker begins with."""
_BLOWN_BYTES = 1 << 30
"""Growth of the resident memory by one input that is a finding."""
SECONDS = 60.0
"""What one input may take."""
_MOST_LETTERS = 2000


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    kind: str
    """``equal``, ``other`` (values, but not the undamaged ones), ``refused``, ``unchanged`` (the
    change did not apply), or a finding: ``raw`` (an exception that is none of ours), ``crash``,
    ``hang``, ``memory``, ``message`` (one that cannot be shown), ``wrong`` (other values of a file
    that is not what was written)."""
    text: str = ""
    """The error, or the values."""
    where: str = ""
    """The last line of our own code that an error went through."""
    seconds: float = 0.0

    @property
    def signature(self) -> str:
        """What two inputs have in common that fail in the same way."""
        return f"{self.kind} {self.text.split(':')[0]} {self.where}"


class Worker:
    """Runs one target."""

    def __init__(self, target: Target, *, seconds: float = SECONDS) -> None:
        self.target, self._seconds = target, seconds
        self._pid = 0
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.valid = self._folder / "valid"
        self._make()

    def close(self) -> None:
        """End the process and delete its files."""
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def begin(self) -> None:
        """Start the process unless it runs."""
        if not self._pid:
            self._start()

    def run(self, steps: Sequence[Step]) -> Outcome:
        """Change the target's valid files by `steps` and read them; the files stay in `changed`."""
        self.begin()
        started = time.monotonic()
        os.write(self._to, json.dumps(steps).encode() + b"\n")
        answer = self._answer()
        seconds = time.monotonic() - started
        if answer is not None:
            return Outcome(**{**answer, "seconds": seconds})
        kind, text = self._died(seconds)
        return Outcome(kind, text, self._last_frame(), seconds)

    @property
    def changed(self) -> Path:
        """Where the files of the last run lie."""
        return self._folder / "changed"

    def _make(self) -> None:
        """Write the valid files, in a process of its own: it may start threads."""
        pid = os.fork()
        if not pid:
            code = 1
            with suppress(BaseException):
                try:
                    self.valid.mkdir()
                    self.target.make(self.valid)
                    code = 0
                except Exception:  # noqa: BLE001 - told to the parent
                    traceback.print_exc()
            os._exit(code)
        if os.waitpid(pid, 0)[1]:
            raise RuntimeError(f"{self.target.name}: its valid files could not be made")

    def _start(self) -> None:
        from_parent, self._to = os.pipe()
        self._from, to_parent = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            os.close(self._to)
            os.close(self._from)
            with suppress(BaseException):
                _Reader(self.target, self.valid, self.changed).serve(from_parent, to_parent)
            os._exit(1)
        os.close(from_parent)
        os.close(to_parent)
        answer = self._answer()
        if answer != {}:
            self._stop()
            raise RuntimeError(f"{self.target.name}: its valid files are not read: {answer}")

    def _answer(self) -> dict[str, Any] | None:
        """Return what the worker says; None when it died or takes too long."""
        content, until = b"", time.monotonic() + self._seconds
        while not content.endswith(b"\n"):
            ready, _, _ = select.select([self._from], [], [], max(0.0, until - time.monotonic()))
            part = os.read(self._from, 1 << 16) if ready else b""
            if not part:
                return None
            content += part
        answer: dict[str, Any] = json.loads(content)
        return answer

    def _died(self, seconds: float) -> tuple[str, str]:
        if seconds >= self._seconds:
            self._stop()
            return "hang", f"more than {self._seconds:g} s"
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._stop()
        name = signal.Signals(-status).name if status < 0 else f"exit {status}"
        return "crash", name

    def _stop(self) -> None:
        if self._pid:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
            os.close(self._to)
            os.close(self._from)
        self._pid = 0

    def _last_frame(self) -> str:
        """Return where the worker was when it died, as `faulthandler` wrote it."""
        try:
            lines = (self._folder / "fault.txt").read_text().splitlines()
        except OSError:
            return ""
        return next((line.strip() for line in lines if "atlas" in line and "File" in line), "")


class _Reader:
    """The worker's side."""

    def __init__(self, target: Target, valid: Path, changed: Path) -> None:
        self._target, self._valid, self._changed = target, valid, changed

    def serve(self, from_parent: int, to_parent: int) -> None:
        """Answer until the parent is gone."""
        self._prepare()
        self._fresh()
        try:
            self._right = self._target.read(self._changed)
        except Exception:  # noqa: BLE001 - told to the parent
            _write(to_parent, {"fault": traceback.format_exc()})
            return
        _write(to_parent, {})
        with os.fdopen(from_parent) as asked:
            for line in asked:
                _write(to_parent, self._outcome(json.loads(line)))

    def _prepare(self) -> None:
        warnings.simplefilter("ignore")
        fork_programs()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        self._fault = (self._changed.parent / "fault.txt").open("w")
        faulthandler.enable(self._fault)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES,) * 2)

    def _fresh(self) -> None:
        shutil.rmtree(self._changed, ignore_errors=True)
        shutil.copytree(self._valid, self._changed)

    def _outcome(self, steps: list[Any]) -> dict[str, Any]:
        self._fresh()
        try:
            is_sealed = self._target.change(self._changed, steps)
        except Exception:  # noqa: BLE001 - it is no longer a file of its kind
            return {"kind": "unchanged"}
        before = _peak_bytes()
        try:
            found = self._target.read(self._changed)
        except AtlasError as error:
            return self._of_error(error)
        except BaseException as error:  # noqa: BLE001 - this is what is looked for
            return _raw(error)
        finally:
            gc.collect()
        if _peak_bytes() > before + _BLOWN_BYTES:
            return {"kind": "memory", "text": f"{_peak_bytes() - before:,} bytes more"}
        if found == self._right:
            return {"kind": "equal"}
        return {"kind": "wrong" if is_sealed else "other", "text": found[:_MOST_LETTERS]}

    def _of_error(self, error: AtlasError) -> dict[str, Any]:
        text = str(error)
        what = f"{type(error).__name__}: {text[:_MOST_LETTERS]}"
        if self._target.is_input and not isinstance(error, UserInputError):
            return {"kind": "raw", "text": what, "where": _where(error)}
        if len(text) > _MOST_LETTERS or not text.isprintable():
            return {"kind": "message", "text": what, "where": _where(error)}
        return {"kind": "refused", "text": what}


def _raw(error: BaseException) -> dict[str, Any]:
    text = f"{type(error).__name__}: {str(error)[:_MOST_LETTERS]}"
    return {"kind": "raw", "text": text, "where": _where(error)}


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/atlasstore/" in f.filename or "/atlasbasset/" in f.filename]
    frame = (ours or frames)[-1]
    return f"{frame.filename.rpartition('/atlas')[2]}:{frame.lineno}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def _write(to: int, answer: dict[str, Any]) -> None:
    os.write(to, json.dumps(answer).encode() + b"\n")
