"""The fuzzer finds what is planted, and a few examples of its own targets are right."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atlasstore.errors import UserInputError
from fuzz.changes import BYTES, Change, on_bytes, sealed
from fuzz.run import Tally, fuzz, replay
from fuzz.target import Target
from fuzz.worker import Worker

ROOT = Path(__file__).resolve().parents[2]
SOME = ["BED", "VCF", "sample sheet", "safetensors", "h5ad csr", "fragments.gz", "atlas"]


def planted(path: Path) -> str:
    """Read a file by a reader with a fault of each kind."""
    content = (path / "f").read_bytes()
    if content == b"segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if content == b"loop":
        time.sleep(60)
    if content == b"raw":
        raise ValueError("not ours")
    if content == b"ours":
        raise UserInputError("one sentence")
    return content.decode(errors="replace")


def target(*contents: str, is_sealed: bool = False) -> Target:
    changes = [
        Change(c, on_bytes(lambda _, __, c=c: c.encode()), is_sealed=is_sealed) for c in contents
    ]
    return Target("planted", lambda f: (f / "f").write_bytes(b"right"), planted, {"f": (*changes,)})


@pytest.mark.parametrize(
    ("content", "is_sealed", "kind"),
    [
        ("segfault", False, "crash"),
        ("loop", False, "hang"),
        ("raw", False, "raw"),
        ("ours", False, "refused"),
        ("other", False, "other"),
        ("other", True, "wrong"),
        ("right", True, "equal"),
    ],
)
def test_each_kind_of_outcome(content, is_sealed, kind):
    worker = Worker(target(content, is_sealed=is_sealed), seconds=3)
    label = f"{content} (sealed)" if is_sealed else content
    try:
        assert worker.run([("f", label, 0, 0, 0)]).kind == kind
        assert worker.run([("f", label, 0, 0, 0)]).kind == kind  # also by the next process
    finally:
        worker.close()


def test_a_finding_is_made_small_and_kept(tmp_path):
    faulty = target("raw", "other", "right")
    worker, tally = Worker(faulty), Tally("planted")
    fuzz(faulty, worker, tally, seed=1, seconds=30, max_examples=50, saved=tmp_path)
    worker.close()
    (place,) = tally.found.values()
    assert tally.n_findings > 0
    assert (Path(place) / "files" / "f").read_bytes() == b"raw"
    assert replay(faulty, [("f", "raw", 0, 0, 0)]).kind == "raw"


def test_damage_of_sealed_bytes_is_told_apart():
    assert {c.label for c in sealed(BYTES)}.isdisjoint(c.label for c in BYTES)


def test_some_examples_of_some_targets(tmp_path):
    command = [sys.executable, "-m", "fuzz", "--examples", "6", "--seed", "1", "--jobs", "1"]
    done = subprocess.run(
        [*command, "--saved", str(tmp_path / "found"), *SOME],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])},
        cwd=tmp_path, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    inputs = re.search(r"^all +(\d+)", done.stdout, re.MULTILINE)
    assert int(inputs[1]) >= 6 * len(SOME)
