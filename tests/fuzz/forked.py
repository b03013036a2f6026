"""The programs that readers start, as forks of the worker: they need not wait for their imports."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from atlasbasset.weights import torch_file, torch_load
from atlasstore.files import hdf5, hdf5_walk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["fork_programs"]

_PROGRAMS: dict[str, Callable[..., int | None]] = {
    torch_load.__file__: lambda file, folder, seconds: torch_load.main(
        Path(file), Path(folder), int(seconds)
    ),
    hdf5_walk.__file__: lambda seconds: hdf5_walk.main(sys.stdin.read(), int(seconds)),
}


def fork_programs() -> None:
    """Let the readers in this process start their programs as forks."""
    forked = SimpleNamespace(run=_run, TimeoutExpired=subprocess.TimeoutExpired)
    torch_file.subprocess = hdf5.subprocess = forked  # type: ignore[attr-defined]
    hdf5._is_walked = hdf5._is_walked.__wrapped__  # type: ignore[attr-defined]


def _run(command: list[str], *, input: bytes = b"", **_: Any) -> SimpleNamespace:
    from_parent, to_child = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        with suppress(Exception):
            os.dup2(from_parent, 0)
            os.close(to_child)
            sys.stdin = os.fdopen(0)
            code = _PROGRAMS[command[2]](*command[3:]) or 0
        os._exit(code)
    os.close(from_parent)
    with suppress(BrokenPipeError):
        os.write(to_child, input)
    os.close(to_child)
    return SimpleNamespace(returncode=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
