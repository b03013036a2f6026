"""Remote files as files of this machine: fetched once, whole, and anew when they have changed."""

from __future__ import annotations

import hashlib
import json
import threading

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from atlasstore.errors import AtlasError, NotAStoreError
from atlasstore.files import urls
from atlasstore.files.local_copies import local_copy, temporary_copy


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "atlasbasset" / "files"


@pytest.fixture
def url(tmp_path):
    found = f"memory://copies/{tmp_path.name}/genome.fa"
    urls.write_bytes(found, b">chr1\nACGT\n")
    return found


@pytest.fixture
def fetched(monkeypatch):
    """URLs that were fetched."""
    found, opened = [], MemoryFileSystem.open

    def noted(self, path, mode="rb", **options):
        if mode == "rb":
            found.append(f"memory:/{path}")
        return opened(self, path, mode, **options)

    monkeypatch.setattr(MemoryFileSystem, "open", noted)
    return found


def test_a_local_file_is_its_own_copy(tmp_path):
    assert local_copy(tmp_path / "x.fa") == tmp_path / "x.fa"
    with temporary_copy(tmp_path / "x.bam") as path:
        assert path == tmp_path / "x.bam"


def test_many_at_once_fetch_it_once(url, fetched, cache):
    paths = []
    threads = [threading.Thread(target=lambda: paths.append(local_copy(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fetched == [url]
    (path,) = set(paths)
    assert path.name == "genome.fa"
    assert path.read_bytes() == b">chr1\nACGT\n"
    noted = json.loads((path.parent / "fetched.json").read_text())
    assert noted["sha256"] == hashlib.sha256(b">chr1\nACGT\n").hexdigest()
    assert path.is_relative_to(cache)


def test_another_content_is_another_copy(url, fetched):
    first = local_copy(url)
    urls.write_bytes(url, b">chr1\nACGTA\n")
    assert local_copy(url).read_bytes() == b">chr1\nACGTA\n"
    assert first.read_bytes() == b">chr1\nACGT\n", "who reads it goes on"
    assert len(fetched) == 2


def test_a_copy_that_was_changed_is_fetched_again(url, fetched):
    local_copy(url).write_bytes(b">chr1\nTTTT\n")
    assert local_copy(url).read_bytes() == b">chr1\nACGT\n"
    assert len(fetched) == 2


def test_half_a_file_is_no_copy(url, monkeypatch, cache):
    told = MemoryFileSystem.info
    monkeypatch.setattr(
        MemoryFileSystem, "info", lambda *given, **more: told(*given, **more) | {"size": 99}
    )
    with pytest.raises(AtlasError, match="fetched in part: 11 bytes of 99 bytes; run the same"):
        local_copy(url)
    (folder,) = cache.iterdir()
    assert [path.name for path in folder.iterdir()] == [".lock"]


def test_what_is_not_there_is_told(url):
    with pytest.raises(NotAStoreError, match=r"none\.fa does not exist; check the URL"):
        local_copy(url.replace("genome", "none"))
    with pytest.raises(NotAStoreError, match="is a folder where a file is needed"):
        local_copy(url.rpartition("/")[0])


def test_a_temporary_copy_goes_with_the_block(url):
    with temporary_copy(url) as path:
        assert path.read_bytes() == b">chr1\nACGT\n"
    assert not path.exists()
