"""Looking through HDF5 files in processes forked from one that has imported h5py.

A process of its own for each file, as `atlasstore.files.hdf5` asks for, without starting Python
and importing numpy for each of the hundreds of small files that tests write.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from atlasstore.files import hdf5, hdf5_walk

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = """
import importlib.util, json, os, sys

spec = importlib.util.spec_from_file_location("walk", sys.argv[1])
walk = importlib.util.module_from_spec(spec)
spec.loader.exec_module(walk)
for line in sys.stdin:
    path, seconds = json.loads(line)
    child = os.fork()
    if not child:
        try:
            walk.main(path, seconds)
        except BaseException:
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
WALK = hdf5_walk.__file__


@dataclass(frozen=True)
class Walker:
    """Stands for the module `subprocess` in `hdf5`."""

    server: subprocess.Popen[str]
    turn: threading.Lock = field(default_factory=threading.Lock)

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run the command: the walk by a fork, anything else as it is."""
        program, seconds = command[-2:]
        path = options["input"].decode()
        if program != WALK or "://" in path:
            return subprocess.run(command, **options)
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        with self.turn:
            self.server.stdin.write(json.dumps([path, int(seconds)]) + "\n")
            self.server.stdin.flush()
            return subprocess.CompletedProcess(command, int(self.server.stdout.readline()))


@contextmanager
def forked_walks() -> Iterator[None]:
    """Within the block, walks are forked."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", SERVER, WALK], text=True, **pipes) as server:
        hdf5.subprocess = Walker(server)  # type: ignore[assignment]
        try:
            yield
        finally:
            hdf5.subprocess = subprocess
