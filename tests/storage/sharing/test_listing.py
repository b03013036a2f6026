"""Listing what lies below a path or a bucket."""

from __future__ import annotations

import shutil

import anndata
import numpy as np
import pytest

from atlasstore.cards.store_card import CARD
from atlasstore.errors import NotAStoreError, UserInputError
from atlasstore.files import urls
from atlasstore.results.writer import write_anndata
from atlasstore.sharing.listing import list_stores
from http_folder import served


def test_stores_at_every_depth(stores):
    found = list_stores(stores.folder)
    assert [(one.name, one.kind, one.shape) for one in found] == [
        ("a.zarr", "atlas", "4 cells x 3 peaks"),
        ("deep/er/r.zarr", "denoised", "4 cells x 3 peaks"),
        ("deep/m.zarr", "model", "4 cells"),
    ]
    assert {one.licence for one in found} == {"CC0-1.0"}
    assert all(one.stored_bytes > 1000 and not one.problem for one in found)


def test_one_store(stores):
    (found,) = list_stores(stores.result)
    assert (found.name, found.kind) == (".", "denoised")


def test_unfinished_damaged_and_others(stores, tmp_path):
    shutil.copytree(stores.result, tmp_path / "cut.zarr")
    (tmp_path / "cut.zarr/zarr.json").write_text('{"attributes": {"for')
    shutil.copytree(stores.result, tmp_path / "begun.zarr.partial/store")
    (tmp_path / "begun.zarr.partial/run.json").write_text("{}")
    write_anndata(anndata.AnnData(np.zeros((2, 2))), tmp_path / "others.zarr")
    (tmp_path / "notes.txt").write_text("no store")
    found = list_stores(tmp_path)
    assert [(one.name, one.kind) for one in found] == [
        ("begun.zarr", "unfinished"),
        ("cut.zarr", "unreadable"),
    ]
    assert "still running or has died" in found[0].problem
    assert "damaged" in found[1].problem


def test_nothing_there(tmp_path):
    assert list_stores(tmp_path) == ()
    (tmp_path / "file").write_text("")
    for name, said in (("absent", "does not exist"), ("file", "is no folder")):
        with pytest.raises(NotAStoreError, match=said):
            list_stores(tmp_path / name)


def test_over_https_a_store_but_no_folder(stores):
    with served(stores.folder) as url:
        assert list_stores(f"{url}/a.zarr")[0].shape == "4 cells x 3 peaks"
        with pytest.raises(UserInputError, match="folders cannot be listed over https"):
            list_stores(url)


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_a_bucket_is_listed_with_few_requests(stores, s3):
    fs, _ = urls.filesystem("s3://bucket")
    fs.put(str(stores.folder), "s3://bucket/listed", recursive=True)
    s3.log.clear()
    found = list_stores("s3://bucket/listed")
    assert [(one.name, one.kind, one.licence) for one in found] == [
        ("a.zarr", "atlas", "CC0-1.0"),
        ("deep/er/r.zarr", "denoised", "CC0-1.0"),
        ("deep/m.zarr", "model", "CC0-1.0"),
    ]
    assert len(s3.log) < 150  # no table is read
    assert not [path for _, path in s3.log if "r.zarr/X/c" in path or "indices/c" in path]
    assert CARD in str(s3.log)
