"""Command lines in processes of their own that get a signal at a chosen moment.

All is imported already when one starts, so that many fit into a test.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from denoise_process import small_units
from forked import fork_server

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess


@dataclass(frozen=True)
class Moment:
    """The `count`-th call of a function, named as ``module:name``; before it or after."""

    function: str
    count: int = 1
    after: bool = False


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int | None
    out: str
    err: str


def command(
    arguments: Sequence[object],
    *,
    folder: Path,
    number: signal.Signals | None = None,
    moment: Moment | None = None,
) -> Ended:
    """Run a command line to its end; with a moment, it gets the signal there."""
    return finished(start(arguments, folder=folder, number=number, moment=moment), folder)


def start(
    arguments: Sequence[object],
    *,
    folder: Path,
    number: signal.Signals | None = None,
    moment: Moment | None = None,
) -> BaseProcess:
    """Start a command line whose output goes to files in `folder`."""
    folder.mkdir(exist_ok=True)
    texts = [str(argument) for argument in arguments]
    process = fork_server().Process(target=_run, args=(texts, str(folder), number, moment))
    process.start()
    return process


def finished(process: BaseProcess, folder: Path) -> Ended:
    """Wait for the end of a process."""
    process.join(timeout=200)
    texts = [(folder / name).read_text() for name in ("out", "err")]
    return Ended(process.exitcode, *texts)


def _run(
    arguments: list[str], folder: str, number: signal.Signals | None, moment: Moment | None
) -> None:
    gc.freeze()  # collections, which the tested code asks for, leave out what came with the fork
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(Path(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, descriptor)
    # a Ray of this process alone, on loopback
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": "local"}
    from atlasjobs.cli import main

    small_units()
    if moment is not None and number is not None:
        _signal_at(moment, number)
    sys.argv = ["atlasbasset", *arguments]
    main()


def _signal_at(moment: Moment, number: signal.Signals) -> None:
    """Let a function send this process a signal."""
    module, _, name = moment.function.partition(":")
    *path, last = name.split(".")
    owner: Any = importlib.import_module(module)
    for part in path:
        owner = getattr(owner, part)
    original, calls = getattr(owner, last), [0]

    def changed(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        meant = calls[0] == moment.count
        if meant and not moment.after:
            _send(number)
        found = original(*args, **kwargs)
        if meant and moment.after:
            _send(number)
        return found

    setattr(owner, last, changed)


def _send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0.01)  # of a thread: the main one hears it
