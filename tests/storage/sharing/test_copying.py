"""Copying stores between places: whole or not at all, resumed, checked, nothing outside it."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import atlasstore
from atlasstore.errors import AtlasError, CorruptStoreError, NotAStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.resume.ledger import Ledger
from atlasstore.sharing import contents, copying
from atlasstore.sharing.copying import copy_store
from http_folder import served
from small_stores import everything

KINDS = ["atlas", "model", "result"]
S3 = (pytest.mark.s3, pytest.mark.xdist_group("s3"))


def files(url: str) -> dict[str, bytes]:
    fs, root = urls.filesystem(url)
    fs.invalidate_cache()
    return {path.removeprefix(root).strip("/"): fs.cat_file(path) for path in fs.find(root)}


def without_older(found: dict[str, bytes]) -> dict[str, bytes]:
    """Leave out the checkpoint before the newest, which is no part of a copy."""
    return {name: content for name, content in found.items() if "/0000000001/" not in name}


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_disk(stores, tmp_path, kind):
    source = getattr(stores, kind)
    report = copy_store(source, out=tmp_path / "c.zarr")
    assert files(tmp_path / "c.zarr") == without_older(files(source))
    assert report.n_files == len(files(tmp_path / "c.zarr"))
    assert everything(str(tmp_path / "c.zarr")) == everything(source)
    assert [path.name for path in tmp_path.iterdir()] == ["c.zarr"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("absent", [404, 403])
def test_from_a_server_that_lists_nothing(stores, tmp_path, kind, absent):
    source = Path(getattr(stores, kind))
    with served(source.parent, absent=absent) as url:
        copy_store(f"{url}/{source.name}", out=tmp_path / "c.zarr")
    assert files(tmp_path / "c.zarr") == without_older(files(str(source)))


def test_from_a_presigned_address(stores, tmp_path):
    source = Path(stores.result)
    with served(source.parent, signature="abc") as url:
        place = f"{url}/{source.name}?X-Amz-Signature=abc"
        copy_store(place, out=tmp_path / "c.zarr")
        with pytest.raises((AtlasError, NotAStoreError)):
            copy_store(place.replace("abc", "xyz"), out=tmp_path / "d.zarr")
    assert files(tmp_path / "c.zarr") == files(str(source))
    assert not (tmp_path / "d.zarr").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("_marks", [pytest.param("", marks=S3)])
def test_to_a_bucket_within_it_and_back(stores, s3, tmp_path, kind, _marks):
    source = getattr(stores, kind)
    for start, end in (
        (source, f"s3://bucket/{kind}/1.zarr"),
        (f"s3://bucket/{kind}/1.zarr", f"s3://bucket/{kind}/2.zarr"),
        (f"s3://bucket/{kind}/2.zarr", str(tmp_path / "c.zarr")),
    ):
        copy_store(start, out=end)
        assert files(end) == without_older(files(source))
    assert urls.list_names(f"s3://bucket/{kind}") == ["1.zarr", "2.zarr"]


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_an_outage_leaves_nothing_to_open_and_the_same_command_goes_on(stores, s3):
    out = "s3://bucket/outage.zarr"
    with s3.failing("500", method="PUT", path="X/c"), pytest.raises(AtlasError, match="reached"):
        copy_store(stores.result, out=out)
    with pytest.raises(NotAStoreError, match="incomplete"):
        atlasstore.open(out)
    s3.log.clear()
    copy_store(stores.result, out=out)
    put = {path for method, path in s3.log if method == "PUT" and "outage.zarr/" in path}
    assert 0 < len(put) < len(files(stores.result))
    assert files(out) == files(stores.result)
    assert not urls.exists(f"{out}.partial")


class Killed(BaseException):
    pass


def test_killed_it_goes_on_with_what_is_missing(stores, tmp_path, monkeypatch):
    copied, done = copying.copied, []

    def killed(source, target):
        if len(done) == 20:
            raise Killed
        done.append(target)
        return copied(source, target)

    monkeypatch.setattr(copying, "_AT_ONCE", 1)
    monkeypatch.setattr(copying, "copied", killed)
    with pytest.raises(Killed):
        copy_store(stores.result, out=tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()
    first = list(done)
    monkeypatch.setattr(copying, "copied", lambda *a: done.append(a[1]) or copied(*a))
    copy_store(stores.result, out=tmp_path / "c.zarr")
    assert set(done[len(first) :]).isdisjoint(first)
    assert files(tmp_path / "c.zarr") == files(stores.result)


def test_a_source_that_changed_meanwhile_is_refused(stores, tmp_path, monkeypatch):
    shutil.copytree(stores.model, tmp_path / "m.zarr")
    monkeypatch.setattr(Ledger, "publish", lambda _: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        copy_store(tmp_path / "m.zarr", out=tmp_path / "c.zarr")
    monkeypatch.undo()
    model = ModelStore.open(tmp_path / "m.zarr")
    model.write_labels(model.obs[["leiden"]])
    with pytest.raises(UserInputError, match="contents"):
        copy_store(tmp_path / "m.zarr", out=tmp_path / "c.zarr")


def test_bytes_that_arrive_otherwise_are_no_copy(stores, tmp_path, monkeypatch):
    copied = copying.copied

    def flipped(source, target):
        found = copied(source, target)
        if target.endswith("X/c.0.0"):
            content = Path(target).read_bytes()
            Path(target).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        return found

    monkeypatch.setattr(copying, "copied", flipped)
    with pytest.raises(AtlasError, match=r"X/c\.0\.0 holds other bytes"):
        copy_store(stores.result, out=tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()


def test_a_model_that_is_being_trained(stores, tmp_path, monkeypatch):
    """What its training writes after the copy has begun is no part of it."""
    shutil.copytree(stores.model, tmp_path / "m.zarr")
    model, copied, begun = ModelStore.open(tmp_path / "m.zarr"), copying.copied, []
    lock = threading.Lock()

    def training_goes_on(source, target):
        with lock:
            is_first = not begun
            begun.append(True)
        if is_first:
            writer = model.write_checkpoint(3)
            writer.begin({"cells/embedding": (2,)})
            for block in model.blocks:
                writer.write_rows("cells/embedding", block.start, np.ones((block.n_cells, 2), "f4"))
            writer.write_tensors("trunk", {"w": np.zeros(5, np.float32)})
            writer.commit({"epoch": 3, "history": []})
        return copied(source, target)

    monkeypatch.setattr(copying, "copied", training_goes_on)
    copy_store(tmp_path / "m.zarr", out=tmp_path / "c.zarr")
    assert model.latest_name() == "0000000003"
    assert everything(str(tmp_path / "c.zarr")) == everything(stores.model)


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/evil", "a//b", "..", "obs/../../evil", "a\\b", "a\nb", "./x"]
)
def test_a_hostile_listing_writes_nothing_outside(stores, tmp_path, monkeypatch, name):
    real = urls.filesystem

    class Hostile:
        def __init__(self, fs):
            self._fs = fs

        def __getattr__(self, attribute):
            return getattr(self._fs, attribute)

        def find(self, root):
            return [f"{root}/{name}", *self._fs.find(root)]

    monkeypatch.setattr(
        contents.urls, "filesystem", lambda url: (Hostile(real(url)[0]), real(url)[1])
    )
    with pytest.raises(CorruptStoreError, match="cannot be part of a store"):
        copy_store(stores.result, out=tmp_path / "c.zarr")
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(stores, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserInputError, match="exists already"):
        copy_store(stores.result, out=tmp_path / "taken")
    with pytest.raises(UserInputError, match="is the store itself"):
        copy_store(stores.result, out=stores.result)
    with pytest.raises(NotAStoreError, match="does not exist"):
        copy_store(tmp_path / "absent", out=tmp_path / "c.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
