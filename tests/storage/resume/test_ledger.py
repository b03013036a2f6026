from __future__ import annotations

import errno
import json
import os

import pytest

from atlasstore.errors import (
    AtlasError,
    CorruptStoreError,
    CountsError,
    NotAStoreError,
    StoreExistsError,
    TooLittleMemoryError,
    UserInputError,
)
from atlasstore.files import urls
from atlasstore.resume.identity import job_difference
from atlasstore.resume.ledger import Ledger, refuse_taken


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    name = "out[1].zarr"  # no pattern
    where = f"memory://ledger/{tmp_path.name}/{name}"
    yield str(tmp_path / "new" / name) if request.param == "local" else where
    for url in (where, f"{where}.partial"):
        urls.delete(url)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "counts").write_text("1")
    return str(tmp_path / "counts")


def begun(out, file, **config):
    return Ledger.open(out, config={"seed": 0, **config}, inputs=[file])


def test_units_are_remembered_and_published(out, file):
    with begun(out, file) as ledger:
        assert ledger.is_new
        started = ledger.started
        urls.write_bytes(urls.join(ledger.store, "a"), b"1")
        ledger.record("labels-0", {"n_positives": 3})
    with begun(out, file) as ledger:
        assert not ledger.is_new
        assert ledger.started == started
        assert ledger.receipt("labels-0") == {"n_positives": 3}
        assert ledger.receipt("labels-1") is None
        ledger.publish()
    assert urls.read_bytes(urls.join(out, "a")) == b"1"
    assert not urls.exists(f"{out}.partial")


def test_other_arguments_are_refused_and_nothing_is_lost(out, file):
    with begun(out, file) as ledger:
        ledger.record("labels-0", {})
    with pytest.raises(UserInputError, match=r"with other arguments \(seed 0, now 4\); finish"):
        begun(out, file, seed=4)
    with begun(out, file) as ledger:
        assert ledger.receipt("labels-0") == {}


def test_a_changed_input_is_refused(out, file, tmp_path):
    begun(out, file).__exit__(None, None, None)
    (tmp_path / "counts").write_text("12")
    with pytest.raises(UserInputError, match=r"counts has changed since .* put it back, or"):
        begun(out, file)


def test_another_version_is_refused(out, file):
    begun(out, file).__exit__(None, None, None)
    run = f"{out}.partial/run.json"
    urls.write_bytes(run, json.dumps(json.loads(urls.read_bytes(run)) | {"package": "0"}).encode())
    with pytest.raises(UserInputError, match="unfinished run of atlasbasset 0, but this is"):
        begun(out, file)


@pytest.mark.parametrize("lost", ["package", "started", "config", "inputs", "id"])
def test_a_record_that_lacks_something_is_damage(out, file, lost):
    begun(out, file).__exit__(None, None, None)
    place = f"{out}.partial/run.json"
    run = json.loads(urls.read_bytes(place))
    del run[lost]
    urls.write_bytes(place, json.dumps(run).encode())
    with pytest.raises(CorruptStoreError, match=r"run.json cannot be read \(something is missing"):
        begun(out, file)


def test_an_id_that_is_a_path_is_damage(out, file):
    begun(out, file).__exit__(None, None, None)
    place = f"{out}.partial/run.json"
    run = json.loads(urls.read_bytes(place)) | {"id": "../../.."}
    urls.write_bytes(place, json.dumps(run).encode())
    with pytest.raises(CorruptStoreError, match=r"run.json cannot be read"):
        begun(out, file)


def test_a_changed_name_in_a_receipt_is_damage(out, file):
    with begun(out, file) as ledger:
        ledger.record("begin", {"n_cells": 3})
        place = f"{ledger.url}/ledger/{ledger.scratch.rpartition('/')[2]}/begin.json"
        assert ledger.receipt("begin") == {"n_cells": 3}
    urls.write_bytes(place, urls.read_bytes(place).replace(b"n_cells", b"n_clels"))
    with pytest.raises(CorruptStoreError, match=r"begin.json cannot be read \(its checksum"):
        begun(out, file)


def test_a_receipt_in_the_place_of_another_is_damage(out, file):
    with begun(out, file) as ledger:
        for step in ("begin", "end"):
            ledger.record(step, {"of": step})
        folder = f"{ledger.url}/ledger/{ledger.scratch.rpartition('/')[2]}"
    urls.write_bytes(f"{folder}/end.json", urls.read_bytes(f"{folder}/begin.json"))
    with pytest.raises(CorruptStoreError, match=r"end.json cannot be read \(its checksum"):
        begun(out, file)


def work_then_raise(out, file, error):
    with begun(out, file) as ledger:
        urls.write_bytes(urls.join(ledger.store, "a"), b"1")
        raise error


def fail(out, file, error):
    with pytest.raises(type(error)):
        work_then_raise(out, file, error)


def test_wrong_input_leaves_nothing_of_a_new_job(out, file):
    fail(out, file, CountsError("a sentence"))
    assert not urls.exists(out)
    assert not urls.exists(f"{out}.partial")


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_other_errors_keep_what_is_done(out, file, error):
    fail(out, file, error)
    assert urls.exists(f"{out}.partial")
    fail(out, file, CountsError("found on the way"))  # an older job's work is not thrown away
    assert urls.exists(f"{out}.partial")


def test_a_new_job_that_lacks_memory_keeps_what_it_has_done(out, file):
    fail(out, file, TooLittleMemoryError("at once"))
    assert not urls.exists(f"{out}.partial")
    with pytest.raises(TooLittleMemoryError), begun(out, file) as ledger:  # noqa: PT012
        ledger.record("span-0-0", {})
        raise TooLittleMemoryError("later")
    with begun(out, file) as ledger:
        assert ledger.receipt("span-0-0") == {}


def test_two_processes_do_not_work_in_one_folder(tmp_path, file):
    out = tmp_path / "out.zarr"
    with begun(out, file), pytest.raises(UserInputError, match="is working on"):
        begun(out, file)
    begun(out, file).__exit__(None, None, None)


def test_what_is_in_the_way_is_refused(out, file):
    refuse_taken(out)
    begun(out, file).__exit__(None, None, None)
    refuse_taken(out)
    urls.write_bytes(urls.join(f"{out}.partial", "store", "a"), b"ours")
    urls.write_bytes(urls.join(out, "a"), b"theirs")
    if urls.is_local(out):
        with pytest.raises(StoreExistsError):
            refuse_taken(out)
    urls.delete(f"{out}.partial")
    with pytest.raises(StoreExistsError):
        refuse_taken(out)


def test_what_another_job_has_left_is_not_taken(out, file):
    """Its folder was deleted, but the deletion stopped half-way."""
    with begun(out, file) as ledger:
        urls.write_bytes(urls.join(ledger.scratch, "a"), b"theirs")
        urls.write_bytes(urls.join(ledger.store, "a"), b"theirs")
        ledger.record("labels-0", {"n_positives": 3})
    urls.delete(f"{out}.partial/run.json")
    with begun(out, file, seed=4) as ledger:
        assert ledger.receipt("labels-0") is None
        assert not ledger.has_begun
        assert not urls.exists(urls.join(ledger.scratch, "a"))
        assert ledger.store == out or not urls.exists(ledger.store)
        ledger.record("labels-1", {})
    with begun(out, file, seed=4) as ledger:
        assert ledger.has_begun
        assert ledger.receipt("labels-1") == {}


def test_a_killed_write_s_leftover_is_not_published(tmp_path, file):
    name = "c.1.0123456789abcdef0123456789abcdef.partial"
    with begun(tmp_path / "r", file) as ledger:
        urls.write_bytes(urls.join(ledger.store, "X", "c.1.0"), b"whole")
        urls.write_bytes(urls.join(ledger.store, "X", name), b"half")
        urls.write_bytes(urls.join(ledger.store, "X", "my.partial"), b"someone's")
        ledger.publish()
    assert urls.list_names(tmp_path / "r" / "X") == ["c.1.0", "my.partial"]


def test_once_units_are_done_a_wrong_input_deletes_nothing(out, file):
    with pytest.raises(CountsError), begun(out, file) as ledger:  # noqa: PT012
        ledger.record("unit-0", {})
        ledger.keep()
        raise CountsError("found on the way")
    with begun(out, file) as ledger:
        assert ledger.receipt("unit-0") == {}


@pytest.mark.parametrize("kind", [StoreExistsError, NotAStoreError])
def test_what_is_not_the_inputs_fault_keeps_what_is_done(out, file, kind):
    with pytest.raises(kind), begun(out, file) as ledger:  # noqa: PT012
        ledger.record("span-0", {})
        raise kind("something has appeared, or gone")
    with begun(out, file) as ledger:
        assert ledger.receipt("span-0") == {}


def test_an_equal_job_s_work_on_an_object_store_is_not_deleted(tmp_path, file):
    out = f"memory://ledger/{tmp_path.name}/out.zarr"
    with pytest.raises(CountsError), begun(out, file) as ledger:  # noqa: PT012
        with begun(out, file) as other:
            urls.write_bytes(urls.join(other.store, "a"), b"theirs")
            urls.write_bytes(urls.join(other.scratch, "a"), b"theirs")
        raise CountsError("a sentence")
    assert ledger.is_new
    assert urls.read_bytes(urls.join(other.store, "a")) == b"theirs"
    assert urls.read_bytes(urls.join(other.scratch, "a")) == b"theirs"
    for url in (out, f"{out}.partial"):
        urls.delete(url)


def said(a, b):
    job = {"inputs": [], "package": "1"}
    return job_difference({"config": a, **job}, {"config": b, **job})


def test_differences_are_short():
    model = {"sha256": "a" * 64, "compute": "float32"}
    assert said({"model": model}, {"model": model | {"sha256": "b" * 64}}) == "another model"
    halves = said({"model": model}, {"model": model | {"compute": "bfloat16"}})
    assert halves == "model compute float32, now bfloat16"
    assert said({"cells": "a" * 64}, {"cells": "b" * 64}) == "other cells"
    assert said({"holdout": ["chr1"]}, {"holdout": []}) == "holdout ['chr1'], now []"
    many = [f"s3://bucket/{i}" for i in range(200)]
    assert said({"inputs": many}, {"inputs": many[1:]}) == "inputs 200 entries, now 199 entries"
    assert said({"inputs": many}, {"inputs": many[::-1]}) == "inputs 200 entries, now 200 others"
    assert said({"inputs": many}, {}) == "inputs 200 entries, now None"
    long = said({"genome": "/a" * 400}, {"genome": "/b", "seed": 1})
    assert len(long) < 120
    assert long.endswith("..., now /b, seed None, now 1")


def test_an_outage_is_told_as_one(monkeypatch, file):
    class Down:
        def __getattr__(self, name):
            def fail(*_args, **_options):
                raise ConnectionResetError

            return (lambda: None) if name == "invalidate_cache" else fail

    real = urls.filesystem
    fake = lambda url: (Down(), "b/x") if str(url).startswith("s3:") else real(url)  # noqa: E731
    monkeypatch.setattr(urls, "filesystem", fake)
    with pytest.raises(AtlasError, match="s3://b/x cannot be reached"):
        Ledger.open(file, config={}, inputs=["s3://b/x"])


def test_a_folder_changed_in_place_is_another_input(tmp_path) -> None:
    """Same names, same sizes, other bytes: a zarr store that was made again."""
    folder = tmp_path / "in.zarr"
    folder.mkdir()
    (folder / "c.0").write_bytes(b"A" * 9)
    with Ledger.open(tmp_path / "out", config={}, inputs=[str(folder)]) as ledger:
        ledger.record("u", {})
    os.utime(folder / "c.0", ns=(1, 1))
    with pytest.raises(UserInputError, match=r"in\.zarr has changed since the unfinished run"):
        Ledger.open(tmp_path / "out", config={}, inputs=[str(folder)])


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_nobody_at_work(tmp_path, monkeypatch, number) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_: object) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with Ledger.open(tmp_path / "out", config={}, inputs=[]) as ledger:
        assert ledger.is_new


def stop_after_a_step(out, file):
    with begun(out, file) as ledger:
        ledger.record("begin", {})
        raise InterruptedError


def test_a_folder_in_the_place_of_a_receipt_is_told(tmp_path, file):
    out = str(tmp_path / "out.zarr")
    with pytest.raises(InterruptedError):
        stop_after_a_step(out, file)
    (receipt,) = tmp_path.glob("out.zarr.partial/ledger/*/begin.json")
    receipt.unlink()
    receipt.mkdir()
    with pytest.raises(CorruptStoreError, match="A folder is where"):
        begun(out, file)
