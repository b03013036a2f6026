"""Receipts, resuming, publishing: who did what is counted by files, whatever process did it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atlasbasset.batch import job
from atlasbasset.batch.executor import WorkerPool
from atlasbasset.batch.job import ResumableJob, run_job
from atlasbasset.batch.job_identity import JobIdentity
from atlasstore.errors import (
    AtlasError,
    CorruptStoreError,
    NotAStoreError,
    StoreExistsError,
    UserInputError,
)
from atlasstore.events import Notice, Progress, ignore
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, write_rows
from atlasstore.resume.ledger import partial_url
from atlasstore.resume.units import Stage
from atlasstore.zarrio import formats
from atlasstore.zarrio.table_plan import TablePlan
from small_stores import make_small_model, make_small_result

N = 10
PLAN = TablePlan("X", (N, 3), "float32", chunk_rows=2, shard_rows=4)
VALUES = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
UNITS = [{"start": start, "stop": stop} for start, stop in PLAN.shards()]
CONFIG = {"seed": 1}
OBS = pd.DataFrame(index=[f"cell{i}" for i in range(N)])
VAR = pd.DataFrame(index=list("abc"))


class Killed(BaseException):
    """As by a signal: nothing that catches errors sees it."""


@dataclass
class Prepare:
    """Half of the work: writes what the second stage reads."""

    scratch: str

    def __call__(self, unit):
        urls.write_bytes(f"{self.scratch}/{unit['start']}", b"prepared")
        return {}


@dataclass
class Write:
    """The other half."""

    job: ResumableJob

    def __call__(self, unit):
        start, stop = unit["start"], unit["stop"]
        assert urls.read_bytes(f"{self.job.scratch}/{start}") == b"prepared"
        return write_rows(self.job.place, PLAN, start, VALUES[start:stop])


class Flow:
    """A verb of two stages, which stops at a step of its choice."""

    def __init__(
        self, out, *, config=CONFIG, inputs=(), stop_at=None, error=Killed, on_step=ignore
    ):
        self.out, self.config, self.inputs = str(out), config, list(inputs)
        self.stop_at, self.error, self.on_step = stop_at, error, on_step
        self.steps, self.events = [], []

    @property
    def identity(self):
        return JobIdentity("test", self.config, self.inputs)

    def run(self):
        heard = self.events.append
        run_job(self.out, self.make, identity=self.identity, pool=WorkerPool(), on_event=heard)
        return self

    def make(self, job):
        units = Stage("first", "rows"), Stage("second", "rows")
        job.run("first", UNITS, self._counted("first", Prepare(job.scratch)), stage=units[0])
        job.create(lambda: self._create(job.place))
        job.run("second", UNITS, self._counted("second", Write(job)), stage=units[1])
        self._step("publish")
        job.publish(self.config, {})

    def _create(self, place):
        self._step("create")
        create_result(place, kind="denoised", obs=OBS, var=VAR, obsm={}, varm={}, tables=[PLAN])

    def _counted(self, name, work):
        def counted(unit):
            self._step(f"{name} {unit['start']}")
            return work(unit)

        return counted

    def _step(self, step):
        self.on_step(step)
        if step == self.stop_at:
            raise self.error(f"stopped at {step}")
        self.steps.append(step)


EVERY = [f"{s} {u['start']}" for s in ("first", "second") for u in UNITS]
EVERY = [*EVERY[:3], "create", *EVERY[3:], "publish"]


@pytest.fixture(params=["local", "object store"])
def out(request, tmp_path):
    place = f"memory://test_job/{tmp_path.name}"
    yield str(tmp_path / "r") if request.param == "local" else place
    urls.delete(place)
    urls.delete(partial_url(place))


def stored(url):
    fs, root = urls.filesystem(url)
    return {path.removeprefix(root): fs.cat_file(path) for path in fs.find(root)}


def test_what_is_made_and_that_nothing_else_is_left(out):
    flow = Flow(out).run()
    assert flow.steps == EVERY
    result = Result.open(out)
    result.verify()
    np.testing.assert_array_equal(result.table("X")[:], VALUES)
    assert not urls.exists(partial_url(out))
    recorded = result.about["shards"]["X"]
    assert len(recorded) == len(UNITS)
    assert flow.events[-1] == Progress("second", N, N, "rows", VALUES.nbytes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What is stored by a run without a disturbance."""
    out = tmp_path_factory.mktemp("whole") / "r"
    Flow(out).run()
    return stored(out)


@pytest.mark.parametrize("step", EVERY)
def test_killed_at_any_step_the_same_job_does_what_is_missing(out, step, whole):
    killed = Flow(out, stop_at=step)
    with pytest.raises(Killed):
        killed.run()
    with pytest.raises(NotAStoreError, match="incomplete"):
        Result.open(out)
    again = Flow(out).run()
    assert killed.steps + again.steps == EVERY
    assert not [event for event in again.events if isinstance(event, Notice)]
    found = stored(out)
    assert set(found) == set(whole)
    for name in whole:
        if name != "/zarr.json" and "provenance" not in name:  # when they were made
            assert found[name] == whole[name], name
    assert not urls.exists(partial_url(out))


def test_progress_goes_on_from_what_was_done(out):
    with pytest.raises(Killed):
        Flow(out, stop_at="second 4").run()
    again = Flow(out).run()
    told = [e for e in again.events if isinstance(e, Progress) and e.stage == "second"]
    assert [e.done for e in told] == [4, 8, 10]
    assert [e.n_bytes for e in told] == [0, 48, 72]


def test_a_step_killed_after_it_was_done_is_done_again_over_it(out):
    """Between the last write and its receipt."""
    with pytest.raises(Killed):
        Flow(out, stop_at="second 8").run()
    urls.delete(f"{partial_url(out)}/ledger")
    assert Flow(out).run().steps == EVERY
    Result.open(out).verify()


def halved(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [halved, flipped, None])
def test_a_finished_shard_that_was_damaged_since_is_done_again(tmp_path, damage, whole):
    out = tmp_path / "r"
    with pytest.raises(Killed):
        Flow(out, stop_at="publish").run()
    shard = Path(partial_url(out)) / "store" / "X" / "c.1.0"
    content = shard.read_bytes()
    shard.unlink() if damage is None else shard.write_bytes(damage(content))
    again = Flow(out).run()
    assert again.steps == ["second 4", "publish"]
    said = [event.message for event in again.events if isinstance(event, Notice)]
    assert len(said) == 1
    assert "Warning: 1 of the units that an earlier run had finished are damaged" in said[0]
    assert stored(out)["/X/c.1.0"] == whole["/X/c.1.0"]
    Result.open(out).verify()


def test_much_that_is_finished_is_not_read_again(tmp_path, monkeypatch):
    with pytest.raises(Killed):
        Flow(tmp_path / "r", stop_at="publish").run()
    monkeypatch.setattr(job, "MOST_CHECKED_BYTES", 10)
    again = Flow(tmp_path / "r").run()
    assert again.steps == ["publish"]
    said = [event.message for event in again.events if isinstance(event, Notice)]
    assert all("is not read again; `inspect --verify` does" in sentence for sentence in said)
    assert said


@pytest.mark.parametrize("damage", [halved, flipped, None])
@pytest.mark.parametrize("file", ["obs/_index", "X/zarr.json"])
def test_a_damaged_table_is_written_again(tmp_path, damage, file, whole):
    out = tmp_path / "r"
    with pytest.raises(Killed):
        Flow(out, stop_at="publish").run()
    table = Path(partial_url(out)) / "store" / file
    place = max(filter(Path.is_file, [table, *table.rglob("*")]), key=lambda p: p.stat().st_size)
    content = place.read_bytes()
    place.unlink() if damage is None else place.write_bytes(damage(content))
    again = Flow(out).run()
    assert again.steps == ["create", "publish"]
    said = [event.message for event in again.events if isinstance(event, Notice)]
    assert len(said) == 1
    assert "an earlier run had written are damaged; they are written again" in said[0]
    found = stored(out)
    assert {name: found[name] for name in whole if "/X/" in name or "obs" in name} == {
        name: content for name, content in whole.items() if "/X/" in name or "obs" in name
    }
    Result.open(out).verify()


def test_killed_between_publishing_and_cleaning_up(out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("atlasstore.resume.ledger.urls.delete", stop)
        with pytest.raises(Killed):
            Flow(out).run()
    Result.open(out).verify()
    assert urls.exists(partial_url(out))
    again = Flow(out).run()
    assert again.steps == []
    assert not urls.exists(partial_url(out))


def stop(*_args):
    raise Killed


def test_the_same_job_again_says_so_and_does_nothing(out):
    Flow(out).run()
    before = stored(out)
    again = Flow(out).run()
    assert again.steps == []
    assert [type(event) for event in again.events] == [Notice]
    assert "finished: the same job made it before" in again.events[0].message
    assert stored(out) == before
    assert not urls.exists(partial_url(out))


def test_another_job_is_refused_onto_a_finished_one(out):
    Flow(out).run()
    before = stored(out)
    with pytest.raises(StoreExistsError, match=r"another job \(seed 1, now 2\)"):
        Flow(out, config={"seed": 2}).run()
    assert stored(out) == before


def test_another_job_is_refused_onto_an_unfinished_one(out):
    with pytest.raises(Killed):
        Flow(out, stop_at="second 4").run()
    before = stored(partial_url(out))
    with pytest.raises(UserInputError, match=r"other arguments \(seed 1, now 2\)"):
        Flow(out, config={"seed": 2}).run()
    assert stored(partial_url(out)) == before
    assert Flow(out).run().steps == ["second 4", "second 8", "publish"]


def test_changed_input_is_another_job(out, tmp_path):
    (tmp_path / "input").write_text("one")
    inputs = [str(tmp_path / "input")]
    with pytest.raises(Killed):
        Flow(out, inputs=inputs, stop_at="second 4").run()
    (tmp_path / "input").write_text("another")
    with pytest.raises(UserInputError, match="input has changed since the unfinished run"):
        Flow(out, inputs=inputs).run()
    urls.delete(partial_url(out))
    urls.delete(out)
    Flow(out, inputs=inputs).run()
    (tmp_path / "input").write_text("a third")
    with pytest.raises(StoreExistsError, match=r"another job \(.*input has changed since\)"):
        Flow(out, inputs=inputs).run()


def test_inputs_may_be_named_from_another_folder(out, tmp_path, monkeypatch):
    (tmp_path / "input").write_text("one")
    Flow(out, inputs=[str(tmp_path / "input")]).run()
    monkeypatch.chdir(tmp_path)
    assert Flow(out, inputs=["input"]).run().steps == []


@pytest.mark.parametrize("content", ["file", "folder", "store"])
def test_what_is_no_result_is_never_touched(out, content):
    if content == "store":
        group = urls.create_group(out)
        formats.begin(group, formats.ATLAS)
    else:
        urls.write_bytes(out if content == "file" else f"{out}/below", b"precious")
    before = stored(out)
    with pytest.raises(StoreExistsError, match="exists already"):
        Flow(out).run()
    assert stored(out) == before


@pytest.mark.parametrize("error", [UserInputError, StoreExistsError])
def test_input_found_wrong_leaves_nothing_before_a_unit_is_done_and_all_afterwards(out, error):
    with pytest.raises(error, match="stopped at first 0"):
        Flow(out, stop_at="first 0", error=error).run()
    assert not urls.exists(out)
    assert not urls.exists(partial_url(out))
    with pytest.raises(error):
        Flow(out, stop_at="second 4", error=error).run()
    with pytest.raises(UserInputError):
        Flow(out, stop_at="second 8", error=UserInputError).run()
    assert Flow(out).run().steps == ["second 8", "publish"]


@pytest.mark.parametrize("error", [CorruptStoreError, OSError, AtlasError])
def test_other_errors_keep_what_is_done(out, error):
    with pytest.raises(error, match="stopped at second 4"):
        Flow(out, stop_at="second 4", error=error).run()
    assert Flow(out).run().steps == ["second 4", "second 8", "publish"]


def test_a_shard_that_a_bucket_has_lost_is_not_published(tmp_path):
    out = f"memory://test_job/{tmp_path.name}/r"
    with pytest.raises(Killed):
        Flow(out, stop_at="publish").run()
    urls.delete(f"{out}/X/c.1.0")
    with pytest.raises(CorruptStoreError, match="array X has 2 of its 3"):
        Flow(out).run()
    with pytest.raises(NotAStoreError):
        Result.open(out)


def test_on_a_local_disk_one_process_at_a_time(tmp_path):
    def other(step):
        if step == "second 4":
            with pytest.raises(UserInputError, match="is working on"):
                Flow(tmp_path / "r").run()

    assert Flow(tmp_path / "r", on_step=other).run().steps == EVERY
    Result.open(tmp_path / "r").verify()


@pytest.mark.parametrize("step", EVERY)
def test_on_an_object_store_an_equal_job_may_finish_first(step, tmp_path):
    """At each step of the one, the other does all that is left and publishes."""
    out, published = f"memory://test_job/{tmp_path.name}", []

    def other(at):
        if at == step and not published:
            published.append(Flow(out).run().steps)
            published.append(stored(out))

    flow = Flow(out, on_step=other).run()
    assert stored(out) == published[1]
    Result.open(out).verify()
    assert not urls.exists(partial_url(out))
    assert "The same result was published" in flow.events[-1].message
    assert set(flow.steps) | set(published[0]) == set(EVERY)


def test_on_an_object_store_another_ones_late_error_leaves_what_is_published(tmp_path):
    out, published = f"memory://test_job/{tmp_path.name}", []

    def other(at):
        if at == "second 4" and not published:
            published.append(Flow(out).run())

    Flow(out, on_step=other, stop_at="second 4", error=UserInputError).run()
    Result.open(out).verify()


def test_on_an_object_store_what_was_stored_first_stays(tmp_path, monkeypatch):
    """An equal job on other hardware computes other last bits, at the same moment."""
    out, values = f"memory://test_job/{tmp_path.name}", VALUES
    there = []

    def other(step):
        if step == "second 4" and not there:
            there.append(step)
            monkeypatch.setitem(globals(), "VALUES", values + np.float32(1e-3))
            with pytest.raises(Killed):
                Flow(out, stop_at="publish").run()
            monkeypatch.setitem(globals(), "VALUES", values)

    flow = Flow(out, on_step=other).run()
    assert flow.steps == EVERY
    result = Result.open(out)
    result.verify()
    found = result.table("X")[:]
    np.testing.assert_array_equal(found[:4], values[:4])
    np.testing.assert_array_equal(found[4:], values[4:] + np.float32(1e-3))


def test_published_and_tidied_up_between_looking_and_beginning(tmp_path, monkeypatch):
    out = f"memory://test_job/{tmp_path.name}"
    Flow(out).run()
    before = stored(out)
    monkeypatch.setattr("atlasbasset.batch.job._is_finished", lambda *_args: False)
    late = Flow(out).run()
    assert late.steps == []
    assert [type(event) for event in late.events] == [Notice]
    assert "The same result was published" in late.events[0].message
    assert stored(out) == before
    assert not urls.exists(partial_url(out))


def test_published_and_tidied_up_while_its_receipts_are_read(tmp_path, monkeypatch):
    """An equal job ends between the listing of the steps' receipts and their reading."""
    out = f"memory://test_job/{tmp_path.name}"
    with pytest.raises(Killed):
        Flow(out, stop_at="second 4").run()
    read_files = urls.read_files

    def ended_first(folder, names):
        monkeypatch.setattr(urls, "read_files", read_files)
        Flow(out).run()
        return read_files(folder, names)

    monkeypatch.setattr(urls, "read_files", ended_first)
    late = Flow(out).run()
    assert late.steps == []
    assert "The same result was published" in late.events[-1].message
    Result.open(out).verify()
    assert not urls.exists(partial_url(out))


def test_workers_that_cannot_be_had_delete_nothing_of_others(tmp_path, monkeypatch):
    out = f"memory://test_job/{tmp_path.name}"

    def no_ray(_pool, _on_event):
        monkeypatch.setattr(WorkerPool, "session", real)
        with pytest.raises(Killed):
            Flow(out, stop_at="second 4").run()
        raise UserInputError("the workers need 8 CPUs")

    real = WorkerPool.session
    monkeypatch.setattr(WorkerPool, "session", no_ray)
    with pytest.raises(UserInputError, match="8 CPUs"):
        Flow(out).run()
    assert Flow(out).run().steps == ["second 4", "second 8", "publish"]


def test_receipts_are_kept_as_units_finish(tmp_path):
    seen = []

    def look(step):
        folder = tmp_path / "r.partial" / "ledger"
        seen.append(len(list(folder.rglob("*.json"))) if folder.exists() else 0)

    Flow(tmp_path / "r", on_step=look).run()
    assert seen == list(range(len(EVERY)))


def test_the_job_is_in_the_provenance(out):
    Flow(out).run()
    result = Result.open(out)
    assert result.provenance["job"]["config"] == {"verb": "test", **CONFIG}
    assert json.loads(result.about["provenance"]) == result.provenance
    assert result.provenance["created"]


def test_workers_that_cannot_reach_the_place_are_refused():
    far = "memory://test_job/far"
    identity = JobIdentity("test", {}, [])
    with pytest.raises(UserInputError, match="workers cannot reach"):
        run_job(far, pytest.fail, identity=identity, pool=WorkerPool(2), on_event=ignore)
    assert not urls.exists(partial_url(far))


def test_the_page_shows_a_verb_that_works(out):
    page = (Path(__file__).resolve().parents[3] / "docs" / "jobs.md").read_text()
    shown, events = {}, []
    exec(re.search(r"```python\n(.*?)```", page, flags=re.DOTALL)[1], shown)
    ends = [
        shown["my_verb"](out, CONFIG, [], OBS, VAR, lambda a, b: VALUES[a:b], events.append)
        for _ in range(2)
    ]
    assert ends == [False, True]
    np.testing.assert_array_equal(Result.open(out).rows("X"), VALUES)
    assert isinstance(events[0], Progress)
    assert isinstance(events[-1], Notice)


def test_what_is_made_from_a_model_keeps_what_its_training_reached(tmp_path):
    model = ModelStore.open(make_small_model(tmp_path / "model.zarr"))
    assert job._described(model) == {
        **model.provenance,
        "measures": {"epochs": 2, "loss": 0.5},
    }
    result = Result.open(make_small_result(tmp_path / "result.zarr"))
    assert job._described(result) == result.provenance
