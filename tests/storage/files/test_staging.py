from __future__ import annotations

import asyncio
import os
import time

import pytest
from zarr.core import sync
from zarr.core.buffer import default_buffer_prototype

from atlasstore.errors import AccessDeniedError, StoreExistsError, UserInputError
from atlasstore.files import urls
from atlasstore.files.locks import lock_folder
from atlasstore.files.staging import refuse_existing, staged


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    where = f"memory://staging/{tmp_path.name}/out.zarr"
    yield str(tmp_path / "new" / "out.zarr") if request.param == "local" else where
    urls.delete(where)


def test_content_is_there_after_the_block(url):
    with staged(url) as place:
        urls.write_bytes(urls.join(place, "a", "b"), b"content")
    assert urls.read_bytes(urls.join(url, "a", "b")) == b"content"


def _write_then_raise(url: str, error: type[BaseException]) -> None:
    with staged(url) as place:
        urls.write_bytes(urls.join(place, "a", "b"), b"content")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(url, error):
    with pytest.raises(error):
        _write_then_raise(url, error)
    assert not urls.exists(url)
    assert urls.list_names(url.rpartition("/")[0]) == []


def test_existing_output_is_refused_before_the_work(url):
    urls.write_bytes(urls.join(url, "mine"), b"kept")
    with pytest.raises(StoreExistsError, match="exists already"), staged(url):
        pytest.fail("the block must not run")
    assert urls.read_bytes(urls.join(url, "mine")) == b"kept"


def test_local_store_is_invisible_until_the_end(tmp_path):
    with staged(tmp_path / "out.zarr") as place:
        urls.write_bytes(urls.join(place, "a"), b"1")
        (hidden,) = tmp_path.iterdir()
        assert hidden.name.startswith(".out.zarr.")
        assert hidden.name.endswith(".partial")
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_output_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(StoreExistsError), staged(tmp_path / "out.zarr"):
        urls.write_bytes(tmp_path / "out.zarr" / "a", b"theirs")
    assert urls.read_bytes(tmp_path / "out.zarr" / "a") == b"theirs"
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_an_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserInputError, match=r"would lie below .*file, which is a file"):
        refuse_existing(tmp_path / "file" / "new" / "out.zarr")


def test_an_output_where_nothing_may_be_written_is_refused(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))
    with pytest.raises(AccessDeniedError, match="may not be read or written by this user"):
        refuse_existing(tmp_path / "new" / "out.zarr")
    assert asked == [tmp_path]


def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_stays(tmp_path):
    dead, alive = (tmp_path / f".out.zarr.{digit * 32}.partial" for digit in "ab")
    other = tmp_path / f".other.zarr.{'a' * 32}.partial"
    for folder in (dead, alive, other):
        urls.write_bytes(folder / "out.zarr" / "a", b"1")
    lock = lock_folder(alive)
    assert lock is not None
    try:
        with staged(tmp_path / "out.zarr") as place:
            urls.write_bytes(urls.join(place, "a"), b"2")
    finally:
        os.close(lock)
    assert {path.name for path in tmp_path.iterdir()} == {"out.zarr", alive.name, other.name}


async def _write_late(store):
    await asyncio.sleep(0.2)
    await store.set("late", default_buffer_prototype().buffer.from_bytes(b"1"))


def _interrupted_while_zarr_writes(url):
    with staged(url) as place:
        store = urls.zarr_store(place, read_only=False)
        asyncio.run_coroutine_threadsafe(_write_late(store), sync._get_loop())
        time.sleep(0.05)
        raise KeyboardInterrupt


def test_an_interrupt_leaves_nothing_that_zarr_goes_on_to_write(url):
    with pytest.raises(KeyboardInterrupt):
        _interrupted_while_zarr_writes(url)
    time.sleep(0.4)
    assert urls.list_names(url.rpartition("/")[0]) == []
