"""Files made by jobs: resumed after a kill at any moment, whole or not there."""

from __future__ import annotations

import pytest

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.file_job import refuse_file, run_file_job
from atlasbasset.batch.job_identity import JobIdentity
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import ignore
from atlasstore.files import urls
from atlasstore.files.staging import staged
from atlasstore.resume.ledger import is_begun
from atlasstore.resume.units import Stage

UNITS = [{"start": start, "stop": start + 1} for start in range(4)]


class Killed(BaseException):
    """As by a signal: nothing that catches errors sees it."""


class Flow:
    """Writes a part for each unit, then a folder of two files; stops where it is told to."""

    def __init__(self, out: str, *, kill: str = "") -> None:
        self.out, self.kill, self.done = out, kill, list[int]()

    def make(self, job) -> int:
        def work(unit):
            self._perhaps_stop(f"unit {unit['start']}")
            self.done.append(unit["start"])
            urls.write_bytes(f"{job.scratch}/{unit['start']}", b"part")
            return {}

        receipts = job.run("parts", UNITS, work, stage=Stage("working", "parts"))
        job.begin_writing()
        if urls.is_local(self.out):
            with staged(self.out) as place:
                self._write(place)
        else:
            self._write(self.out)  # as a process that is killed: nothing is cleaned up
        self._perhaps_stop("written")
        return len(receipts.done)

    def _write(self, place: str) -> None:
        urls.write_bytes(f"{place}/a", b"one")
        self._perhaps_stop("half written")
        urls.write_bytes(f"{place}/b", b"two")

    def _perhaps_stop(self, where: str) -> None:
        if where == self.kill:
            raise Killed

    def run(self, **config) -> int:
        identity = JobIdentity("flow", config, [])
        return run_file_job(
            self.out, self.make, identity=identity, pool=WorkerPool(), on_event=ignore
        )


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    url = str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path}/out"
    yield url
    urls.delete(url)


def test_all_is_made_and_nothing_is_left_beside_it(out) -> None:
    assert Flow(out).run() == 4
    assert sorted(urls.list_names(out)) == ["a", "b"]
    assert not is_begun(out)


@pytest.mark.parametrize("kill", ["unit 2", "half written"])
def test_a_killed_job_does_what_is_left(out, kill) -> None:
    with pytest.raises(Killed):
        Flow(out, kill=kill).run()
    refuse_file(out)  # does not: the job is to be resumed
    again = Flow(out)
    assert again.run() == 4
    assert again.done == ([2, 3] if kill == "unit 2" else [])
    assert sorted(urls.list_names(out)) == ["a", "b"]
    assert not is_begun(out)


def test_a_job_killed_after_its_file_was_there_is_told_and_its_folder_goes(tmp_path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(Killed):
        Flow(out, kill="written").run()
    with pytest.raises(StoreExistsError):
        Flow(out).run()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_finished_one_is_refused_and_so_is_another_job(out) -> None:
    with pytest.raises(Killed):
        Flow(out, kill="unit 1").run(depth=1)
    with pytest.raises(UserInputError, match="depth 1, now 2"):
        Flow(out).run(depth=2)
    Flow(out).run(depth=1)
    with pytest.raises(StoreExistsError):
        Flow(out).run(depth=1)
    with pytest.raises(StoreExistsError):
        refuse_file(out)
