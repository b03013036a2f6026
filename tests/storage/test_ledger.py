from __future__ import annotations

import json

import pytest

from atlasstore import urls
from atlasstore.errors import (
    CountsError,
    StoreExistsError,
    TooLittleMemoryError,
    UserInputError,
)
from atlasstore.ledger import Ledger, refuse_taken


@pytest.fixture(params=["local", "memory"])
def out(request, tmp_path):
    where = f"memory://ledger/{tmp_path.name}/out.zarr"
    yield str(tmp_path / "new" / "out.zarr") if request.param == "local" else where
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
    with begun(out, file), pytest.raises(UserInputError, match="another process is at work in"):
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
