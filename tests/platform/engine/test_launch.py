"""How many threads a process of a training run uses."""

from __future__ import annotations

import os
import subprocess
import sys

LATER = """
import numba
import torch
from atlasbasset.engine.launch import use_threads

use_threads(1)


@numba.njit
def compiled(x):
    return x + 1


print(compiled(1), numba.get_num_threads(), torch.get_num_threads())
"""


def test_loops_compile_after_the_number_of_threads_was_set():
    """So it is on the first run after an installation, when numba has nothing cached."""
    env = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", LATER], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "1", "1"], done.stderr
