"""Processes take turns at compiling, and one that waited loads what the other has kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

LOOP = """
import numba

@numba.njit(cache=True)
def total(values):
    found = 0.0
    for value in values:
        found += value
    return found
"""
PROGRAM = """
import sys, one_compiler, loop
import numpy as np
print("ready", flush=True)
sys.stdin.readline()
loop.total(np.ones(3))
print(sum(loop.total.stats.cache_misses.values()))
"""


def test_two_that_begin_together_compile_once(tmp_path):
    (tmp_path / "loop.py").write_text(LOOP)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])
    settings = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": settings}
    both = [subprocess.Popen([sys.executable, "-c", PROGRAM], **pipes) for _ in range(2)]
    for one in both:
        assert one.stdout.readline() == "ready\n"
    for one in both:
        one.stdin.write("\n")
        one.stdin.flush()
    ends = [one.communicate(timeout=100) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sorted(int(said) for said, _ in ends) == [0, 1]
