"""What a look at the cluster refuses, and what it tells; by real workers: tests/jobs."""

from __future__ import annotations

import socket
from dataclasses import replace

import fsspec
import pytest

from atlasbasset.cluster.preflight import Needs, preflight
from atlasbasset.cluster.worker_probe import look_around
from atlasstore.errors import UserInputError
from atlasstore.events import ignore

HOST = socket.gethostname()


def test_places_are_read_and_written_and_nothing_is_left(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text("{}")
    (tmp_path / "file.bed").write_text("chr1")
    out = tmp_path / "out.zarr"
    reads = (str(tmp_path / "store"), str(tmp_path / "file.bed"))
    said = []
    preflight(Needs(reads=reads, writes=(str(out),)), said.append)
    lines = [notice.message for notice in said]
    assert lines[0] == f"preflight: the job's own process on {HOST}"
    assert f"preflight: {out} can be written" in lines
    assert lines[-1].startswith("preflight: passed in ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.bed", "store"]


def test_no_folder_is_made_where_an_output_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outs = [str(tmp_path / "new" / "deep" / "out.zarr"), "relative/out.zarr", "out.zarr"]
    assert look_around(writes=[*outs, "memory://new-here/out.zarr"]).faults == ()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_does_not_open_is_told_with_the_node(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserInputError, match=rf"{HOST} cannot read .*none: it does not exist"):
        preflight(Needs(reads=(str(tmp_path / "none"),)), ignore)
    with pytest.raises(UserInputError, match=rf"{HOST} cannot write next to .*credentials"):
        preflight(Needs(writes=(str(tmp_path / "file" / "out"),)), ignore)


def test_a_pattern_is_looked_up_and_one_of_its_matches_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "b.zarr").mkdir(parents=True)
    for name in ("data/a.h5ad", "data/[x].h5ad", "data/b.zarr/zarr.json"):
        (tmp_path / name).write_text("x")
    there = ["data/*.h5ad", f"{tmp_path}/**/a.h5ad", "data/[x].h5ad", "data/*.zarr"]
    assert look_around(there).faults == ()
    (fault,) = look_around(["data/*.h5mu"]).faults
    assert fault == f"{HOST} cannot read data/*.h5mu: it matches nothing there"


def test_a_pattern_of_urls_is_looked_up():
    fsspec.filesystem("memory").pipe("/samples-seen/d1.h5ad", b"x")
    assert look_around(["memory://samples-seen/*.h5ad", "memory://samp*/**"]).faults == ()
    (fault,) = look_around(["memory://samples-seen/*.loom"]).faults
    assert fault.endswith("*.loom: it matches nothing there")


@pytest.fixture
def worker():
    """The one worker that preflight finds, which a test changes."""
    return [look_around()]


def checked(worker, on_event=ignore, **needs):
    preflight(Needs(workers=1, **needs), on_event, look=lambda *_: worker)


def test_other_versions_are_refused(worker):
    checked(worker)
    worker[0] = replace(worker[0], versions={**worker[0].versions, "torch": "1.0"}, node="far")
    with pytest.raises(UserInputError, match=r"far has torch 1\.0, the head has .*same version"):
        checked(worker)


def test_workers_that_see_no_gpu_are_refused(worker):
    worker[0] = replace(worker[0], gpu_names=(), node="far")
    with pytest.raises(UserInputError, match="torch sees no GPU on far, which Ray gave 1 GPU;"):
        checked(worker, gpus=1)
    said = []
    worker[0] = replace(worker[0], gpu_names=("L4",), gpu_bytes=20 * 10**9)
    checked(worker, said.append, gpus=1)
    assert "preflight: GPUs: L4, 20.0 GB free" in [notice.message for notice in said]


def test_needs_are_said_in_words():
    assert Needs(workers=1).said == "1 worker of 1 CPU"
    assert Needs(workers=4, cpus=2, gpus=0.5).said == "4 workers of 2 CPUs and 0.5 GPUs"


def test_a_push_is_asked_for_its_token_and_writes_nothing(monkeypatch):
    def refused(url):
        raise UserInputError(f"there is no token to push to {url} with.")

    monkeypatch.setattr("atlasbasset.cluster.worker_probe.check_sign_in", refused)
    monkeypatch.setattr("atlasstore.files.urls.write_bytes", None)
    (fault,) = look_around(writes=["hf://lab/atac@v2"]).faults
    assert fault == f"{HOST} cannot push to hf://lab/atac@v2: there is no token to push to " + (
        "hf://lab/atac@v2 with"
    )
    monkeypatch.setattr("atlasbasset.cluster.worker_probe.check_sign_in", lambda _: None)
    assert look_around(writes=["hf://lab/atac@v2"]).faults == ()
