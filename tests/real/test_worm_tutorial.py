"""The tutorial on real cells: run where they are, and a sentence where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorials" / "worm.py"


def run(data: str, seconds: float) -> str:
    env = {**os.environ, "ATLASBASSET_TEST_DATA": data, "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, str(TUTORIAL)], env=env, capture_output=True, text=True,
        check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("data", ["", "absent"])
def test_without_the_data_it_says_so(data) -> None:
    told = run(data, 120)
    assert told.startswith("Skipped: worm/worm.h5ad, worm/ce10.fa.gz, ")
    assert len(told.splitlines()) == 1


@pytest.mark.real
@pytest.mark.slow
def test_it_learns_from_real_cells(real_data) -> None:
    if not (real_data / "worm" / "worm.h5ad").exists():
        pytest.skip(f"{real_data / 'worm'} is absent")
    told = run(str(real_data), 1200)
    auroc = float(told.split("auROC on chromosome III: ")[1].split()[0])
    assert auroc > 0.55
    assert "neurons:" in told
    assert "worm.html" in told
