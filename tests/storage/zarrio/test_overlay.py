from __future__ import annotations

import numpy as np
import pytest
import zarr

from atlasstore.files import urls
from atlasstore.files.create import create_bytes
from atlasstore.zarrio.overlay import ROOT, FirstStays, HeldRoot, WrittenOver

FILL = 7


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    place = f"memory://test_conditional/{tmp_path.name}"
    yield str(tmp_path / "a") if request.param == "local" else place
    urls.delete(place)


def test_a_file_is_created_once(url):
    assert create_bytes(f"{url}/file", b"first")
    assert not create_bytes(f"{url}/file", b"second")
    assert urls.read_bytes(f"{url}/file") == b"first"


def write(store, values):
    group = zarr.create_group(store, zarr_format=3)
    below = group.create_group("below", attributes={"said": "yes"})
    array = below.create_array("x", shape=(4,), chunks=(2,), dtype="int64", fill_value=FILL)
    array[: len(values)] = values


def test_what_is_written_over_stays_where_it_is_not_written_again(url):
    write(WrittenOver(urls.zarr_store(url, read_only=False)), [1, 2, 3, 4])
    write(WrittenOver(urls.zarr_store(url, read_only=False)), [5, 6])
    group = urls.open_group(url)
    np.testing.assert_array_equal(group["below/x"][:], [5, 6, 3, 4])
    assert dict(group["below"].attrs) == {"said": "yes"}


def test_written_twice_the_bytes_are_the_same(url):
    stored = []
    for _ in range(2):
        write(WrittenOver(urls.zarr_store(url, read_only=False)), [1, 2, 3, 4])
        fs, root = urls.filesystem(url)
        stored.append({path: fs.cat_file(path) for path in fs.find(root)})
    assert stored[0] == stored[1]
    assert len(stored[0]) == 5


def test_a_held_root_is_seen_by_its_holder_alone(url):
    store = HeldRoot(urls.zarr_store(url, read_only=False))
    write(store, [1])
    assert list(zarr.open_group(store, mode="r+")) == ["below"]
    assert not urls.exists(f"{url}/{ROOT}")
    assert urls.exists(f"{url}/below/{ROOT}")
    assert b'"node_type"' in store.root.to_bytes()


def test_what_is_stored_first_stays_and_is_said(url):
    write(urls.zarr_store(url, read_only=False), [1, 2])
    store = FirstStays(urls.zarr_store(url, read_only=False), url)
    array = zarr.open_array(store, path="below/x", mode="r+", zarr_format=3)
    array[2:4] = [3, 4]
    assert store.refused == set()
    array[0:2] = [5, 6]
    assert store.refused == {"below/x/c/0"}
    np.testing.assert_array_equal(urls.open_group(url)["below/x"][:], [1, 2, 3, 4])


def test_held_metadata_is_never_seen_without_its_attributes(tmp_path):
    store = WrittenOver(urls.zarr_store(tmp_path / "s", read_only=False), holds_metadata=True)
    group = zarr.create_group(store, zarr_format=3)
    array = group.create_array("a", data=np.arange(3))
    array.attrs["kind"] = "b"
    assert group["a"].attrs["kind"] == "b"
    assert not list((tmp_path / "s").rglob(ROOT))
    store.flush()
    found = zarr.open_group(str(tmp_path / "s"), mode="r")["a"]
    assert found.attrs["kind"] == "b"
    assert found[:].tolist() == [0, 1, 2]
