"""Readers who may only read: a bucket without writing, https to the public, presigned addresses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import atlasstore
from atlasstore.errors import AccessDeniedError, CorruptStoreError
from atlasstore.files import urls
from atlasstore.inspect_store import inspect_store
from atlasstore.zarrio import arrays
from http_folder import served
from small_stores import everything

KINDS = ["atlas", "model", "result"]


def values(store) -> object:
    """Something that is read from far inside each kind of store."""
    if isinstance(store, atlasstore.Atlas):
        codes = store.sequence_codes(1, 3).tolist()
        return codes, [store.labels(block.index).indices.tolist() for block in store.blocks]
    if hasattr(store, "newest"):
        return store.newest().rows("cells/embedding", 0, store.n_cells).tolist(), str(store.obs)
    return np.asarray(store.to_anndata().X).tolist(), str(store.obs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answers", [{"absent": 404}, {"absent": 403}, {"lists": True}], ids=["404", "403", "lists"]
)
def test_https_to_the_public(stores, kind, answers):
    """403 is what a bucket says of what is absent where nobody may list; others list folders."""
    source = Path(getattr(stores, kind))
    with served(source.parent, **answers) as server:
        url = f"{server}/{source.name}"
        assert values(atlasstore.open(url)) == values(atlasstore.open(str(source)))
        assert inspect_store(url, verify=True).sizes == inspect_store(str(source)).sizes


def test_a_server_that_knows_no_ranges(tmp_path):
    group = urls.create_group(tmp_path / "g")
    shards = arrays.create_array(
        group, "x", shape=(64, 8), dtype=np.int32, chunk_rows=4, shard_rows=32, axes=("cell", "of")
    )
    shards[:] = np.arange(512).reshape(64, 8)
    with served(tmp_path) as server:
        found = urls.open_group(f"{server}/g")["x"]
        for start, stop in ((0, 4), (4, 8), (30, 34), (63, 64), (0, 64)):
            np.testing.assert_array_equal(found[start:stop], shards[start:stop])


@pytest.mark.parametrize("name", ["obs/n_peaks/c/0", "labels/0/indices/c.0"])
def test_what_is_lost_there_is_found(stores, tmp_path, name):
    shutil.copytree(stores.atlas, tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / name).exists()
    (tmp_path / "a.zarr" / name).unlink()
    with served(tmp_path) as server, pytest.raises(CorruptStoreError, match="stored pieces"):
        inspect_store(f"{server}/a.zarr", verify=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_presigned_address(stores, kind):
    source = Path(getattr(stores, kind))
    with served(source.parent, absent=403, signature="5ec2e7") as server:
        url = f"{server}/{source.name}?X-Amz-Expires=60&X-Amz-Signature=5ec2e7"
        assert values(atlasstore.open(url)) == values(atlasstore.open(str(source)))
        with pytest.raises(AccessDeniedError, match="was denied") as caught:
            atlasstore.open(url.replace("5ec2e7", "0ddba11"))
    assert "0ddba11" not in str(caught.value)


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
@pytest.mark.parametrize(
    "kind", ["model", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("atlas", "result"))]
)
def test_credentials_that_may_only_read(stores, s3, kind, tmp_path):
    source, url = getattr(stores, kind), f"s3://bucket/read-only/{kind}.zarr"
    atlasstore.copy_store(source, out=url)
    for method in ("PUT", "POST", "DELETE"):
        with s3.failing("403", method=method):
            assert everything(url) == everything(source)
            assert atlasstore.list_stores(url)[0].licence == "CC0-1.0"
            assert s3.faults == 0, "reading asks for nothing but reading"
    with s3.failing("403", method="PUT"):
        atlasstore.copy_store(url, out=tmp_path / "c.zarr")
        with pytest.raises(AccessDeniedError, match="was denied"):
            atlasstore.write_card(url, licence="MIT")
        with pytest.raises(AccessDeniedError, match="was denied"):
            atlasstore.copy_store(source, out="s3://bucket/read-only/no.zarr")
    assert not urls.exists("s3://bucket/read-only/no.zarr")
