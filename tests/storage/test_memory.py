from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import pytest

from atlasstore import memory
from atlasstore.errors import UserInputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("2gib", 2 << 30),
        ("800 MB", 8 * 10**8),
        ("1.5G", 15 * 10**8),
        ("64k", 64_000),
        (12345, 12345),
    ],
)
def test_sizes_as_people_write_them(text, size):
    assert memory.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "2 XB", "-1GB", "0", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UserInputError, match="is no size in memory; write for example 2GB"):
        memory.parse_size(text)


def test_this_machine_has_memory():
    assert memory.resident_bytes() > 0
    assert 0 < memory.default_bytes() < memory.free_bytes()


class Cycle:
    def __init__(self):
        self.itself = self


@pytest.mark.parametrize(("share", "is_collected"), [(4, True), (100, False)])
def test_garbage_is_collected_where_the_process_fills_its_bound(share, is_collected):
    held = memory.psutil.Process().memory_info().rss
    gc.disable()  # by itself
    try:
        garbage = weakref.ref(Cycle())
        assert memory.resident_bytes(bound_bytes=share * held) > 0
        assert (garbage() is None) == is_collected
    finally:
        gc.enable()


FREEING = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from atlasstore import memory
if sys.argv[1] == "now on":
    memory.give_back_from_now_on()
def work(_):
    for _ in range(3):  # glibc keeps arrays of this size from the second one on
        [np.ones(6 << 20, np.uint8) for _ in range(8)]
before = memory.resident_bytes()
with ThreadPoolExecutor(2) as pool:
    list(pool.map(work, range(4)))
    print(memory.psutil.Process().memory_info().rss - before)
"""


def test_what_threads_free_is_given_back():
    made = subprocess.run(
        [sys.executable, "-c", FREEING, "now on"], capture_output=True, text=True, check=True
    )
    assert int(made.stdout) < 12 << 20


def group(tmp_path, lines, files):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "own").write_text(lines)
    return {"own_group": tmp_path / "own", "groups": tmp_path}


def test_control_groups_of_version_2_bound_from_any_height(tmp_path):
    files = {
        "memory.max": "max\n",
        "a/memory.max": "50000000\n",
        "a/memory.current": "20000000\n",
        "a/memory.stat": "anon 1\ninactive_file 5000000\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "1\n",
    }
    assert memory.free_bytes(**group(tmp_path, "0::/a/b\n", files)) == 35_000_000


def test_a_job_is_given_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 35_000_000)
    assert memory.default_bytes() == 17_500_000


def test_control_groups_of_version_1(tmp_path):
    files = {
        "memory/job/memory.limit_in_bytes": "40000000",
        "memory/job/memory.usage_in_bytes": "30000000",
    }
    found = group(tmp_path, "5:cpu:/x\n4:memory,other:/job\n", files)
    assert memory.free_bytes(**found) == 10_000_000
