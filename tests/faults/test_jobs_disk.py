"""Batch jobs on disks that are full, and results whose stored bytes are not what they were."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zarr.storage._local as local_store

import atlasbasset
from atlasstore.errors import CorruptStoreError, NotAStoreError
from atlasstore.files import urls
from atlasstore.results.result import Result
from atlasstore.resume.ledger import partial_url
from denoise_process import OPTIONS, make_stores, receipts, small_units
from store_bits import stored

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _small_units(monkeypatch):
    small_units(monkeypatch.setattr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("stores")
    make_stores(found)
    return found


@pytest.fixture(scope="module")
def stores(folder):
    return str(folder / "model"), str(folder / "atlas")


@pytest.fixture(scope="module")
def result(stores, tmp_path_factory):
    """A result that nobody disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        small_units(patch.setattr)
        out = tmp_path_factory.mktemp("whole") / "r"
        atlasbasset.denoise(*stores, out=out, **OPTIONS)
    return out


def full(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["peaks/h/c.1.0", "var/start/c", "X/c.3.0", "X/c.0.0"])
def test_no_space_for_a_piece(stores, result, tmp_path, monkeypatch, place):
    """The store raises what the system raises on a full disk, from that piece on."""
    out, put = tmp_path / "r", local_store._put
    is_full = []

    def put_or_full(path, *args, **kwargs):
        is_full.extend([True] if place in str(path) else [])
        return full() if is_full else put(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(local_store, "_put", put_or_full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            atlasbasset.denoise(*stores, out=out, **OPTIONS)
    assert caught.value.errno == errno.ENOSPC
    assert_goes_on(stores, out, result)


def assert_goes_on(stores, out, result):
    with pytest.raises(NotAStoreError, match="incomplete"):
        Result.open(out)
    assert receipts(str(out))
    atlasbasset.denoise(*stores, out=out, **OPTIONS)
    assert stored(str(out)) == stored(str(result))
    assert not urls.exists(partial_url(out))


@pytest.mark.parametrize("file", ["shards/000000002-", "store/zarr.json"])
def test_no_space_for_a_receipt_or_the_root(stores, result, tmp_path, monkeypatch, file):
    out, write = tmp_path / "r", urls.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(urls, "write_bytes", lambda url, c: (full if file in url else write)(url, c))
        with pytest.raises(OSError, match="No space left on device"):
            atlasbasset.denoise(*stores, out=out, **OPTIONS)
    assert_goes_on(stores, out, result)


def may_mount(folder):
    tried = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)]
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def test_a_disk_that_is_full(folder, result, tmp_path):
    """A real one, of 192 kB."""
    if not may_mount(tmp_path):
        pytest.skip("this machine lets nobody mount a small disk (unshare -rm mount)")
    script = TESTS / "faults" / "denoise_on_small_disk.py"
    found = subprocess.run(
        ["unshare", "-rm", sys.executable, str(script), str(folder), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    error, state, checksums = found.stdout.splitlines()
    assert error.startswith(f"{errno.ENOSPC} ")
    assert "No space left on device" in error
    n_receipts, was_published = state.split()
    assert int(n_receipts) > 2
    assert was_published == "False"
    assert json.loads(checksums) == stored(str(result))


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGE = {
    "a flipped bit": flipped,
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "cut to nothing": lambda _content: b"",
    "absent": None,
}
PIECES = ["X/c.2.0", "X/c.5.0", "obsm/X_scbasset/c.0.0", "varm/scbasset_sequence/c.0.0"]


@pytest.fixture
def damaged(result, tmp_path):
    """A copy of the result, and how to damage a piece of it."""
    copy = tmp_path / "copy"
    shutil.copytree(result, copy)

    def damage(piece, kind):
        content, change = (copy / piece).read_bytes(), DAMAGE[kind]
        (copy / piece).unlink() if change is None else (copy / piece).write_bytes(change(content))
        return Result.open(copy)

    return damage


def table_of(piece):
    return piece.rsplit("/c", maxsplit=1)[0]


@pytest.mark.parametrize("kind", list(DAMAGE))
@pytest.mark.parametrize("piece", PIECES)
def test_a_damaged_piece_is_named(damaged, piece, kind):
    found = damaged(piece, kind)
    with pytest.raises(CorruptStoreError, match=table_of(piece)):
        found.verify()
    with pytest.raises(CorruptStoreError, match=piece):
        found.rows(table_of(piece))
    lazy = found.to_anndata(lazy=True)
    part, _, name = table_of(piece).rpartition("/")
    table = getattr(lazy, part)[name] if part else lazy.X
    with pytest.raises(CorruptStoreError, match=piece):
        table.compute()


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_what_is_whole_can_still_be_read(damaged, result, kind):
    found = damaged("X/c.2.0", kind)
    whole = Result.open(result).rows("X")
    assert (found.rows("X", 0, 32) == whole[:32]).all()
    assert (found.to_anndata(lazy=True).X[48:60].compute() == whole[48:60]).all()


def test_a_shard_of_another_place_is_found(damaged, result):
    """Its bytes are in order, but they are other rows."""
    found = damaged("X/c.2.0", "absent")
    shutil.copy(result / "X/c.3.0", Path(found.url) / "X/c.2.0")
    with pytest.raises(CorruptStoreError, match=r"shard X/c\.2\.0 does not hold what was written"):
        found.verify()
