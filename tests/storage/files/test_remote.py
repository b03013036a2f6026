"""Reads and writes through an S3 server that fails for a while, or for good: real HTTP."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.storage import MemoryStore

from atlasstore.errors import (
    AccessDeniedError,
    AtlasError,
    CorruptStoreError,
    CountsError,
    NotAStoreError,
)
from atlasstore.files import remote, urls
from atlasstore.files.remote import outage_errors, s3_options
from atlasstore.files.text import open_raw
from atlasstore.inputs.kinds import input_kind
from atlasstore.zarrio import arrays, tables
from flaky_s3 import forget_connections, s3_behind_proxy, settings_for_faults

pytestmark = pytest.mark.s3

VALUES = np.arange(60, dtype=np.float32)
FAULTS = ("500", "503", "reset")


@pytest.fixture(scope="module")
def proxy():
    with pytest.MonkeyPatch.context() as environment:
        settings_for_faults(environment, attempts=4)
        with s3_behind_proxy(environment) as found:
            write(f"{BUCKET}/store")
            yield found


BUCKET = "s3://bucket"


def write(url):
    group = urls.create_group(url)
    array = arrays.create_array(
        group, "x", shape=(60,), dtype=np.float32, chunk_rows=10, axes=("cell",)
    )
    array[:] = VALUES


def read(url):
    array = urls.open_group(url)["x"]
    return arrays.read_array(array, 0, 60, url=url)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_write_and_a_read_survive_faults_that_pass(proxy, fault):
    with proxy.failing(fault, times=3):
        urls.write_bytes(f"{BUCKET}/file", fault.encode())
    assert proxy.faults == 3
    with proxy.failing(fault, times=3):
        assert urls.read_bytes(f"{BUCKET}/file") == fault.encode()
    with proxy.failing(fault, times=3):
        assert urls.exists(f"{BUCKET}/file")
    with proxy.failing(fault, times=3, method="PUT"):
        write(f"{BUCKET}/store-{fault}")
    assert proxy.faults == 3
    with proxy.failing(fault, times=3, method="GET"):
        np.testing.assert_array_equal(read(f"{BUCKET}/store-{fault}"), VALUES)
    assert proxy.faults == 3
    with proxy.failing(fault, times=2):
        urls.delete(f"{BUCKET}/file")
    assert not urls.exists(f"{BUCKET}/file")


def test_an_answer_cut_in_its_body_is_fetched_again(proxy):
    with proxy.failing("cut", times=3, method="GET", path="/x/c"):
        np.testing.assert_array_equal(read(f"{BUCKET}/store"), VALUES)
    assert proxy.faults == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_lasts_is_one_sentence(proxy, fault):
    tries = [
        lambda: urls.exists(f"{BUCKET}/store"),
        lambda: urls.write_bytes(f"{BUCKET}/late", b"content"),
        lambda: urls.create_group(f"{BUCKET}/late-store"),
        lambda: urls.open_group(f"{BUCKET}/store"),
    ]
    if fault == "503":  # s3fs repeats it once more, with waits of its own
        tries = tries[:1]
    with proxy.failing(fault):
        for attempt in tries:
            with pytest.raises(AtlasError, match=f"{BUCKET}/.* cannot be reached") as caught:
                attempt()
            assert "run the same again" in str(caught.value)
            assert "\n" not in str(caught.value)
    assert not urls.exists(f"{BUCKET}/late")
    assert not urls.exists(f"{BUCKET}/late-store")


def test_an_outage_is_not_told_as_damage(proxy):
    array = urls.open_group(f"{BUCKET}/store")["x"]
    with proxy.failing("500"), pytest.raises(AtlasError, match="cannot be reached") as caught:
        arrays.read_array(array, 0, 60, url=f"{BUCKET}/store")
    assert not isinstance(caught.value, CorruptStoreError)


class NoRanges(MemoryStore):
    """Gives whole values, and fails where a part of one is asked for."""

    async def get(self, key, prototype=None, byte_range=None):
        if isinstance(byte_range, RangeByteRequest):
            raise ConnectionResetError("reset by peer")
        return await super().get(key, prototype, byte_range)


def test_an_outage_between_the_index_of_a_shard_and_its_chunks():
    store = NoRanges()
    group = zarr.create_group(store, zarr_format=3)
    array = arrays.create_array(
        group, "x", shape=(60,), dtype=np.float32, chunk_rows=5, shard_rows=30, axes=("cell",)
    )
    array[:] = VALUES
    found = zarr.open_group(remote.RemoteStore(store, BUCKET), mode="r")["x"]
    with pytest.raises(AtlasError, match="cannot be reached") as caught:
        found[7:13]
    assert "reset by peer" in str(caught.value)


@pytest.mark.parametrize("fault", ["403", "expired"])
def test_refused_credentials_are_told_as_such(proxy, fault):
    array = urls.open_group(f"{BUCKET}/store")["x"]
    url = f"{BUCKET}/store"
    tries = [
        lambda: urls.read_bytes(f"{BUCKET}/store/zarr.json"),
        lambda: urls.write_bytes(f"{BUCKET}/late", b"content"),
        lambda: urls.open_group(url),
        lambda: urls.list_names(url),
        lambda: urls.create_group(f"{BUCKET}/late-store"),
        lambda: arrays.read_array(array, 0, 60, url=url),
        lambda: open_raw(f"{BUCKET}/f.tsv", error=CountsError),
        lambda: tables.read_table(urls.open_group(url), "obs", url=url),
        lambda: input_kind(f"{BUCKET}/x.h5ad"),
    ]
    with proxy.failing(fault):
        for attempt in tries:
            with pytest.raises(
                AccessDeniedError, match=f"^Access to {BUCKET}\\S* was denied"
            ) as got:
                attempt()
            assert "sign in or renew" in str(got.value)
            assert "\n" not in str(got.value)


@pytest.mark.parametrize(
    ("fault", "meant"),
    [
        ("expired", "got status 400, as for a token that has expired"),
        ("403", "got status 403, as for want of s3:GetObject"),
    ],
)
def test_a_refused_question_says_what_was_asked(proxy, fault, meant):
    """HEAD is answered without words: botocore makes "Bad Request" of an expired token."""
    fs, _ = urls.filesystem(BUCKET)
    fs.invalidate_cache()
    url = f"{BUCKET}/store/zarr.json"
    asking = proxy.failing(fault, method="HEAD")
    with asking, pytest.raises(AccessDeniedError) as got, outage_errors(url):
        fs.info(url)
    asked = "HeadObject, which asks whether it is there"
    assert f"Access to {url} was denied ({asked}" in str(got.value)
    assert meant in str(got.value)
    assert "sign in or renew" in str(got.value)


def test_absent_credentials_are_told_as_such():
    class NoCredentialsError(Exception):
        """As botocore's, which has no other base either."""

    said = r"Access to s3://b/x was denied \(Unable"
    with pytest.raises(AccessDeniedError, match=said), outage_errors("s3://b/x"):
        raise NoCredentialsError("Unable to locate credentials")


class Answer(RuntimeError):
    """Of an HTTP server."""

    status = 403


def test_an_answer_of_http_that_refuses_is_told_as_such():
    error = Answer("Forbidden")
    said = r"Access to https://h/x was denied"
    with pytest.raises(AccessDeniedError, match=said), outage_errors("https://h/x"):
        raise error


def test_a_local_file_that_may_not_be_read_is_no_damage(tmp_path):
    class Unreadable:
        path, shape, chunks, dtype = "x", (1,), (1,), np.dtype("f4")

        def __getitem__(self, rows):
            raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(AccessDeniedError, match="may not be read or written by this user"):
        arrays.read_array(Unreadable(), 0, 1, url=str(tmp_path))


def test_what_is_absent_is_no_outage(proxy):
    with pytest.raises(NotAStoreError, match="does not exist"):
        urls.read_bytes(f"{BUCKET}/absent")
    with pytest.raises(NotAStoreError, match="does not exist"):
        urls.open_group(f"{BUCKET}/absent")
    assert urls.list_names(f"{BUCKET}/absent") == []


def test_a_store_is_listed_and_deleted_through_the_wrapper(proxy):
    write(f"{BUCKET}/listed")
    group = urls.open_group(f"{BUCKET}/listed", mode="r+", use_consolidated=False)
    assert [name for name, _ in group.members()] == ["x"]
    del group["x"]
    assert urls.list_names(f"{BUCKET}/listed") == ["zarr.json"]


def test_the_endpoint_of_fsspec_is_taken(proxy, monkeypatch):
    from fsspec.config import apply_config, conf, set_conf_env
    from s3fs import S3FileSystem

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", proxy.url)
    found = {}
    set_conf_env(found)
    monkeypatch.setitem(conf, "s3", found["s3"])
    assert apply_config(S3FileSystem, {})["endpoint_url"] == proxy.url
    forget_connections()
    np.testing.assert_array_equal(read(f"{BUCKET}/store"), VALUES)


def test_who_sets_retries_decides(monkeypatch):
    monkeypatch.delenv("AWS_MAX_ATTEMPTS", raising=False)
    monkeypatch.delenv("AWS_RETRY_MODE", raising=False)
    monkeypatch.delitem(remote.conf, "s3", raising=False)
    assert s3_options()["config_kwargs"]["retries"]["mode"] == "legacy"
    own = {"config_kwargs": {"retries": {"mode": "adaptive"}, "connect_timeout": 3}}
    monkeypatch.setitem(remote.conf, "s3", own)
    assert s3_options()["config_kwargs"] == own["config_kwargs"]
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert "config_kwargs" not in s3_options()


def test_only_faults_of_the_network_are_told():
    for error in (FileNotFoundError("x"), ValueError("x"), OSError(22, "x")):
        with pytest.raises(type(error)), outage_errors("s3://bucket/x"):
            raise error
    for number in (errno.EIO, errno.ENOSPC):
        with pytest.raises(OSError, match="disk"), outage_errors("/a/path"):
            raise OSError(number, "disk")
    said = r"reached \(ConnectionResetError\), though"
    with pytest.raises(AtlasError, match=said), outage_errors("s3://bucket/x"):
        raise ConnectionResetError
