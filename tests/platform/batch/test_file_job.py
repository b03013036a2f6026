"""Files made by jobs: resumed after a kill at any moment, whole or not there."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pytest

from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.file_job import refuse_file, run_file_job
from atlasbasset.batch.file_record import record_url
from atlasbasset.batch.job_identity import JobIdentity
from atlasstore.errors import StoreExistsError, UserInputError
from atlasstore.events import Notice, ignore
from atlasstore.files import urls
from atlasstore.files.staging import staged
from atlasstore.resume.ledger import Ledger, is_begun
from atlasstore.resume.units import Stage

UNITS = [{"start": start, "stop": start + 1} for start in range(4)]


class Killed(BaseException):
    """As by a signal: nothing that catches errors sees it."""


@dataclass(frozen=True)
class Found:
    """What a flow reports."""

    n_parts: int

    def as_json(self):
        return asdict(self)


class Flow:
    """Writes a part for each unit, then a folder of two files; stops where it is told to."""

    def __init__(self, out: str, *, kill: str = "") -> None:
        self.out, self.kill, self.done = out, kill, list[int]()
        self.identity = JobIdentity("flow", {}, [])

    def run(self, job) -> Found:
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
                job.note(place, Found(len(receipts.done)))
                self._perhaps_stop("noted")
        else:
            self._write(self.out)  # as a process that is killed: nothing is cleaned up
        self._perhaps_stop("written")
        return Found(len(receipts.done))

    def _write(self, place: str) -> None:
        urls.write_bytes(f"{place}/a", b"one")
        self._perhaps_stop("half written")
        urls.write_bytes(f"{place}/b", b"two")

    def _perhaps_stop(self, where: str) -> None:
        if where == self.kill:
            raise Killed

    def begin(self, *, on_event=ignore, **config) -> int:
        self.identity = JobIdentity("flow", config, [])
        found = run_file_job(
            self.out,
            self,
            pool=WorkerPool(),
            read_report=lambda values: Found(**values),
            on_event=on_event,
        )
        return found.n_parts


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    url = str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path}/out"
    yield url
    urls.delete(url)
    urls.delete(record_url(url))


def test_all_is_made_and_nothing_is_left_beside_it(out) -> None:
    assert Flow(out).begin() == 4
    assert sorted(urls.list_names(out)) == ["a", "b"]
    assert not is_begun(out)


@pytest.mark.parametrize("kill", ["unit 2", "half written"])
def test_a_killed_job_does_what_is_left(out, kill) -> None:
    with pytest.raises(Killed):
        Flow(out, kill=kill).begin()
    refuse_file(out)  # does not: the job is to be resumed
    again = Flow(out)
    assert again.begin() == 4
    assert again.done == ([2, 3] if kill == "unit 2" else [])
    assert sorted(urls.list_names(out)) == ["a", "b"]
    assert not is_begun(out)


@pytest.mark.parametrize("kill", ["noted", "written"])
def test_a_job_killed_around_the_moment_its_files_appear_is_finished(out, kill) -> None:
    if kill == "noted" and not urls.is_local(out):
        pytest.skip("an object store's output appears in place: nothing is noted")
    with pytest.raises(Killed):
        Flow(out, kill=kill).begin(depth=1)
    assert urls.exists(out) == (kill == "written")
    with pytest.raises(UserInputError, match="depth 1, now 2"):
        Flow(out).begin(depth=2)
    again = Flow(out)
    assert again.begin(depth=1) == 4
    assert again.done == []
    assert sorted(urls.list_names(out)) == ["a", "b"]
    assert not is_begun(out)
    assert Flow(out).begin(depth=1) == 4  # and now it is recorded


@pytest.mark.parametrize("change", ["replaced", "another file", "no note"])
def test_what_is_not_what_a_killed_job_wrote_is_never_taken_for_it(tmp_path, change) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(Killed):
        Flow(out, kill="written").begin()
    if change == "replaced":
        urls.write_bytes(f"{out}/b", b"owt")  # of the same size
    elif change == "another file":
        urls.write_bytes(f"{out}/c", b"")
    else:
        (note,) = tmp_path.rglob("output.json")
        note.unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(StoreExistsError, match="nothing is overwritten"):
        Flow(out).begin()
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_another_job_is_refused_and_the_same_one_has_nothing_to_do(out) -> None:
    with pytest.raises(Killed):
        Flow(out, kill="unit 1").begin(depth=1)
    with pytest.raises(UserInputError, match="depth 1, now 2"):
        Flow(out).begin(depth=2)
    Flow(out).begin(depth=1)
    again, events = Flow(out), []
    refuse_file(out)  # does not: the job that made it is recorded
    assert again.begin(depth=1, on_event=events.append) == 4
    assert again.done == []
    assert [e.message for e in events if isinstance(e, Notice)] == [
        f"{out} is finished: the same job made it before; nothing was done."
    ]
    with pytest.raises(StoreExistsError, match=r"another job \(depth 1, now 2\)"):
        Flow(out).begin(depth=2)
    assert not is_begun(out)


def test_what_has_replaced_the_output_is_not_taken_for_it(out) -> None:
    Flow(out).begin()
    urls.write_bytes(f"{out}/b", b"a person's")
    with pytest.raises(StoreExistsError, match="nothing is overwritten"):
        Flow(out).begin()
    assert urls.read_bytes(f"{out}/b") == b"a person's"


def test_a_deleted_output_is_made_again(out) -> None:
    Flow(out).begin(depth=1)
    urls.delete(out)
    again = Flow(out)
    again.begin(depth=2)
    assert again.done == [0, 1, 2, 3]
    assert Flow(out).begin(depth=2) == 4


@pytest.mark.parametrize("damage", ["flipped", "lost"])
def test_without_its_record_an_output_is_any_other(out, damage) -> None:
    Flow(out).begin()
    if damage == "lost":
        urls.delete(record_url(out))
    else:
        content = urls.read_bytes(record_url(out))
        urls.write_bytes(record_url(out), content.replace(b"4", b"5"))
    with pytest.raises(StoreExistsError, match="nothing is overwritten"):
        Flow(out).begin()


def test_a_job_killed_before_its_folder_was_deleted_is_finished(tmp_path, monkeypatch) -> None:
    def kill(_):
        raise Killed

    out = str(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "publish", kill)
        with pytest.raises(Killed):
            Flow(out).begin()
    assert is_begun(out)
    assert Flow(out).begin() == 4
    assert not is_begun(out)
