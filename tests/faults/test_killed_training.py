"""``kill -9`` at any moment, again and again: nothing is lost or doubled, and losses are equal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import atlasbasset
from tiny import atlas, config

TESTS = Path(__file__).resolve().parents[1]
EPOCHS = 6
FIGURES = ("epoch", "loss", "train_auroc", "valid_auroc_per_cell", "valid_auroc_per_peak")


def start(atlas_url, model):
    script = TESTS / "faults" / "train_until_done.py"
    return subprocess.Popen(
        [sys.executable, str(script), str(atlas_url), str(model), str(EPOCHS)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        stderr=subprocess.PIPE,
    )


def finished_steps(model):
    """Names of checkpoints rise with the steps done."""
    return sorted(p.name for p in (model / "checkpoints").glob("*"))


def kill_after_progress(process, model, seen, extra_s):
    """Kill once the run has written something new, then a little later: in the middle of things."""
    while process.poll() is None and finished_steps(model) == seen:
        time.sleep(0.005)
    time.sleep(extra_s)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def figures(model):
    lines = (model / "metrics.jsonl").read_text().splitlines()
    return [[json.loads(line)[name] for name in FIGURES] for line in lines]


@pytest.mark.slow
def test_killed_again_and_again(tmp_path, rng):
    atlas_url = atlas(tmp_path / "atlas.zarr", min_blocks=16)
    whole = tmp_path / "whole"
    atlasbasset.train(atlas_url, out=whole, config=config(epochs=EPOCHS))
    model = tmp_path / "killed"
    for _ in range(4):
        process = start(atlas_url, model)
        kill_after_progress(process, model, finished_steps(model), rng.uniform(0, 0.15))
    process = start(atlas_url, model)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors.decode()
    np.testing.assert_array_equal(figures(model), figures(whole))
    assert len(finished_steps(model)) == 2
