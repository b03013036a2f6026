from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import zarr

import atlasstore
from atlasstore.errors import CorruptStoreError, FormatVersionError, NotAStoreError
from atlasstore.files import urls
from atlasstore.inspect_store import inspect_store, open_store
from atlasstore.models.model_store import ModelStore
from atlasstore.store_kinds import KINDS
from atlasstore.zarrio import formats
from small_atlas import FEW_BLOCKS, make_atlas, random_labels

if TYPE_CHECKING:
    from pathlib import Path


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
    assert json.loads(json.dumps(summary.as_json()))["sizes"]["n_blocks"] == FEW_BLOCKS
    assert not inspect_store(url).verified


def test_metadata_nested_too_deeply_to_be_read_is_damage(url):
    urls.write_bytes(urls.join(url, "zarr.json"), b"[" * 100_000)
    with pytest.raises(CorruptStoreError, match="metadata that cannot be read"):
        inspect_store(url)


def test_open_dispatches(url):
    assert isinstance(open_store(url), atlasstore.Atlas)
    assert atlasstore.open is open_store


def test_verify_finds_damage(url, tmp_path):
    (tmp_path / "a.zarr/labels/3/indices/c.0").unlink()
    inspect_store(url)
    with pytest.raises(CorruptStoreError, match="labels/3/indices"):
        inspect_store(url, verify=True)


@pytest.fixture
def model(tmp_path, rng):
    n_cells, width = 50, 3
    obs = pd.DataFrame({"n_peaks": range(n_cells)}, index=[f"cell{i}" for i in range(n_cells)])
    options = {"config": {}, "block_cells": 20, "provenance": {}}
    store = ModelStore.create(tmp_path / "m", obs=obs, **options)
    writer = store.write_checkpoint(7)
    tables = {"cells/embedding": (width,), "cells/intercept": (), "optimizer/embedding/m": (width,)}
    writer.begin(tables)
    for name, row_shape in tables.items():
        for block in store.blocks:
            values = rng.normal(size=(block.n_cells, *row_shape)).astype(np.float32)
            writer.write_rows(name, block.start, values)
    writer.write_tensors("trunk", {"w": np.ones(2, np.float32)})
    writer.commit({"epoch": 1})
    return tmp_path / "m"


def pieces(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "zarr.json")


def test_model_that_is_whole(model):
    assert inspect_store(model, verify=True).sizes["epochs_done"] == 1


@pytest.mark.parametrize("damage", ["delete", "flip"])
@pytest.mark.parametrize(
    "name", ["cells/embedding", "cells/intercept", "optimizer/embedding/m", "obs/n_peaks"]
)
def test_verify_finds_a_damaged_model(model, name, damage):
    place = model if name.startswith("obs") else model / "checkpoints/0000000007"
    file = pieces(place / name)[-1]
    if damage == "delete":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[-6] ^= 1
        file.write_bytes(content)
    with pytest.raises(CorruptStoreError, match=name.partition("/")[0]):
        inspect_store(model, verify=True)


def test_verify_finds_a_cell_table_that_is_short_or_absent(model):
    checkpoint = zarr.open_group(model / "checkpoints/0000000007", mode="r+")
    checkpoint["optimizer/embedding/m"].resize((40, 3))
    with pytest.raises(CorruptStoreError, match="embedding/m has 40 rows, where rows 40"):
        inspect_store(model, verify=True)
    shutil.rmtree(model / "checkpoints/0000000007/optimizer")
    shutil.rmtree(model / "checkpoints/0000000007/cells/intercept")
    with pytest.raises(CorruptStoreError, match="cells/intercept is absent"):
        inspect_store(model, verify=True)


def test_no_store_other_store_newer_store(tmp_path, url):
    with pytest.raises(NotAStoreError, match="does not exist"):
        inspect_store(tmp_path / "absent")
    foreign = urls.create_group(tmp_path / "foreign.zarr")
    with pytest.raises(NotAStoreError, match=r"foreign\.zarr is not an atlasbasset store"):
        inspect_store(tmp_path / "foreign.zarr")
    formats.begin(foreign, formats.RESULT)
    with pytest.raises(NotAStoreError, match="is an incomplete result"):
        open_store(tmp_path / "foreign.zarr")
    zarr.open_group(url, mode="r+").attrs.update({"format_version": 3})
    with pytest.raises(FormatVersionError, match="version 3"):
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
