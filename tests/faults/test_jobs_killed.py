"""``kill -9`` of a batch job in every stage: the result is the same, and nothing is done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from atlasstore.errors import NotAStoreError
from atlasstore.results.result import Result
from atlasstore.resume.ledger import partial_url
from denoise_process import (
    finish,
    make_stores,
    receipts,
    shard_file,
    start,
    wait_killed,
)
from store_bits import stored


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return make_stores(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def whole(stores, tmp_path_factory):
    """What is stored by a process that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(stores, str(folder / "r"), folder / "said")
    assert finish(process, folder / "said") == ""
    return stored(str(folder / "r"))


def written(out):
    """Time of the last change of every shard that has a receipt."""
    files = [shard_file(name) for name in receipts(out)]
    return {
        file: Path(partial_url(out), "store", file).stat().st_mtime_ns
        for file in files
        if file is not None
    }


KILLS = [
    ("peaks", "before"),
    ("embed.0000000", "after"),
    ("embed.0000001", "before"),
    ("span.0000001", "before"),
    ("create", "before"),
    ("create", "after"),
    ("shards.0000000", "before"),
    ("shards.0000002", "after"),
    ("shards.0000005", "before"),
]


@pytest.mark.slow
def test_killed_in_every_stage_and_started_again(stores, whole, tmp_path):
    out, said = str(tmp_path / "r"), tmp_path / "said"
    done, changed = set(), {}
    for kill in KILLS:
        wait_killed(start(stores, out, said, kill=kill))
        with pytest.raises(NotAStoreError, match="incomplete"):
            Result.open(out)
        assert done <= receipts(out)
        assert changed.items() <= written(out).items()
        done, changed = receipts(out), written(out)
    assert 2 < len(changed) < 6  # a few units are under way at a time
    assert finish(start(stores, out, said), said) == ""
    assert stored(out) == whole
    for file, when in changed.items():
        assert Path(out, file).stat().st_mtime_ns == when, f"{file} was written twice"
    Result.open(out).verify()
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_killed_in_the_midst_of_things(stores, whole, tmp_path, rng):
    """At moments that nobody chose."""
    out, said = str(tmp_path / "r"), tmp_path / "said"
    for _ in range(4):
        process = start(stores, out, said)
        process.join(timeout=rng.uniform(0.1, 0.6))
        process.kill()
        process.join()
    assert finish(start(stores, out, said), said) == ""
    assert stored(out) == whole


def test_two_identical_jobs_at_once_on_a_local_disk(stores, whole, tmp_path):
    out = str(tmp_path / "r")
    processes = [start(stores, out, tmp_path / name) for name in "ab"]
    ends = sorted(finish(p, tmp_path / name) for p, name in zip(processes, "ab", strict=True))
    assert ends[0] == ""
    # the second one came during the first, or after it
    assert ends[1] == "" or "is working on" in ends[1]
    assert stored(out) == whole


def test_the_same_job_on_its_result_touches_nothing(stores, whole, tmp_path):
    out, said = str(tmp_path / "r"), tmp_path / "said"
    assert finish(start(stores, out, said), said) == ""
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("*")}
    assert finish(start(stores, out, said), said) == ""
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "r").rglob("*")} == before
