from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import atlasstore
from atlasstore import formats, urls
from atlasstore.errors import CorruptStoreError, FormatVersionError, NotAStoreError
from atlasstore.inspect_store import KINDS, inspect_store, open_store
from small_atlas import make_atlas, random_labels


@pytest.fixture
def url(tmp_path, rng):
    codes = rng.integers(0, 5, (20, 198), dtype=np.uint8)
    return make_atlas(tmp_path / "a.zarr", random_labels(rng, 50, 20), codes)


def test_atlas(url):
    summary = inspect_store(url, verify=True)
    assert (summary.format, summary.version, summary.verified) == (formats.ATLAS, 1, True)
    assert (summary.sizes["n_cells"], summary.sizes["n_peaks"]) == (50, 20)
    assert sum(summary.sizes["splits"].values()) == 20
    assert summary.sizes["samples"] == {"one": 50}
    assert summary.stored_bytes > 0
    assert json.loads(json.dumps(summary.as_json()))["sizes"]["n_blocks"] == 17
    assert not inspect_store(url).verified


def test_open_dispatches(url):
    assert isinstance(open_store(url), atlasstore.Atlas)
    assert atlasstore.open is open_store


def test_verify_finds_damage(url, tmp_path):
    (tmp_path / "a.zarr/labels/3/indices/c.0").unlink()
    inspect_store(url)
    with pytest.raises(CorruptStoreError, match="labels/3/indices"):
        inspect_store(url, verify=True)


def test_no_store_other_store_newer_store(tmp_path, url):
    with pytest.raises(NotAStoreError, match="is not a zarr store"):
        inspect_store(tmp_path / "absent")
    foreign = urls.create_group(tmp_path / "foreign.zarr")
    with pytest.raises(NotAStoreError, match=r"foreign\.zarr is not an atlasbasset store"):
        inspect_store(tmp_path / "foreign.zarr")
    formats.begin(foreign, formats.RESULT)
    with pytest.raises(NotAStoreError, match="is an incomplete result"):
        open_store(tmp_path / "foreign.zarr")
    zarr.open_group(url, mode="r+").attrs.update({"format_version": 2})
    with pytest.raises(FormatVersionError, match="version 2"):
        open_store(url)


def test_format_that_nothing_here_opens(tmp_path, monkeypatch):
    monkeypatch.delitem(KINDS, formats.RESULT)
    group = urls.create_group(tmp_path / "r.zarr")
    formats.stamp(group, formats.RESULT, 1, {})
    with pytest.raises(NotAStoreError, match=r"anndata\.read_zarr"):
        open_store(tmp_path / "r.zarr")


def test_package_names():
    assert set(atlasstore.__all__) >= {"open", "Atlas", "preprocess", "simulate", "errors"}
    assert callable(atlasstore.simulate)
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = atlasstore.absent
