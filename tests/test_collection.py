"""Every process collects the same tests: xdist's workers refuse to run when they do not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = [
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu"},
]


def collecting(place: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-m", "", "-o", "addopts="]
    return subprocess.Popen(
        [*command, "--import-mode=importlib"],
        cwd=ROOT, env=os.environ | place, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_two_collections_in_other_seconds_seeds_and_locales_are_equal():
    runs = []
    for place in PLACES:
        runs.append(collecting(place))
        time.sleep(1.1)
    printed = [run.communicate(timeout=240)[0].splitlines() for run in runs]
    found = [[line for line in lines if "::" in line] for lines in printed]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(found[0]) > 100
    assert found[0] == found[1]
