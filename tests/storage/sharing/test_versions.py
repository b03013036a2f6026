"""Publishing anew: who has the old version open gets its values, or is told; no others."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pandas as pd
import pytest

import atlasstore
from atlasstore.errors import AtlasError
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.zarrio.table_plan import plan_table

N, P = 64, 40


def make(url: str, value: float, *, dense: bool = True) -> None:
    """A result all of whose values are one number, in several shards."""
    plan = plan_table("X", (N, P), "float32")
    names = [f"c{i}" for i in range(N)], [f"p{i}" for i in range(P)]
    create_result(
        url,
        kind="denoised",
        obs=pd.DataFrame(index=names[0]),
        var=pd.DataFrame(index=names[1]),
        obsm={"X_scbasset": np.full((N, 1), value, np.float32)},
        varm={"scbasset_sequence": np.ones((P, 1), np.float32)},
        tables=[plan] if dense else [],
        about={"scale": "linear"},
    )
    starts = range(0, N, plan.shard_rows) if dense else ()
    rows = [
        write_rows(url, plan, start, np.full((min(plan.shard_rows, N - start), P), value, "f4"))
        for start in starts
    ]
    finish_result(url, {}, shards=rows)


@pytest.fixture(
    params=["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.xdist_group("s3")])]
)
def place(request, tmp_path):
    if request.param == "local":
        return str(tmp_path)
    request.getfixturevalue("s3")
    return "s3://bucket/versions"


@pytest.mark.parametrize("dense", [True, False])
def test_a_replaced_result_is_told_and_never_mixed(place, dense):
    url = f"{place}/r-{dense}.zarr"
    make(url, 1.0, dense=dense)
    reader = atlasstore.open(url)
    lazy = reader.to_anndata()
    assert (lazy.X[:8].compute() == 1).all()
    urls.delete(url)
    with pytest.raises(AtlasError, match="was replaced or deleted after it was opened"):
        reader.rows("obsm/X_scbasset", 0, 8)
    make(url, 2.0, dense=dense)
    fresh = reader.to_anndata  # its tables were opened before
    for read in (
        lambda: reader.rows("obsm/X_scbasset", 0, 8),
        lambda: lazy.obsm["X_scbasset"].compute(),
        lambda: fresh().obsm["X_scbasset"].compute(),
        *([lambda: lazy.X.compute()] if dense else []),
    ):
        with pytest.raises(AtlasError, match="was replaced or deleted after it was opened"):
            read()
    assert (atlasstore.open(url).to_anndata().X.compute() == 2).all()


def test_readers_while_a_new_one_is_published(tmp_path):
    """Versions come and go below one name; whatever a reader gets is of one of them alone."""
    url, stop, seen = str(tmp_path / "r.zarr"), threading.Event(), set()
    make(url, 0.0)
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                values = np.asarray(atlasstore.open(url).to_anndata().X)
            except AtlasError:
                continue
            found = set(np.unique(values).tolist())
            seen.update(found)
            if len(found) != 1:
                wrong.append(found)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for version in range(1, 9):
        make(str(tmp_path / "next.zarr"), float(version))
        (tmp_path / "r.zarr").rename(tmp_path / "old.zarr")
        (tmp_path / "next.zarr").rename(tmp_path / "r.zarr")
        shutil.rmtree(tmp_path / "old.zarr")
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(seen) > 1


def test_a_version_of_its_own_name_leaves_the_old_reader_alone(place):
    make(f"{place}/v1.zarr", 1.0)
    lazy = atlasstore.open(f"{place}/v1.zarr").to_anndata()
    make(f"{place}/v2.zarr", 2.0)
    assert (lazy.X.compute() == 1).all()
    assert [store.name for store in atlasstore.list_stores(place) if store.name[0] == "v"] == [
        "v1.zarr",
        "v2.zarr",
    ]


def test_a_model_that_is_trained_on_keeps_the_checkpoint_that_is_read(stores, tmp_path):
    shutil.copytree(stores.model, tmp_path / "m.zarr")
    model = ModelStore.open(tmp_path / "m.zarr")
    opened = ModelStore.open(tmp_path / "m.zarr").newest()
    writer = model.write_checkpoint(3)
    writer.begin({"cells/embedding": (2,), "cells/intercept": ()})
    for block in model.blocks:
        writer.write_rows("cells/embedding", block.start, np.zeros((block.n_cells, 2), "f4"))
        writer.write_rows("cells/intercept", block.start, np.zeros(block.n_cells, "f4"))
    writer.write_tensors("trunk", {"w": np.zeros(5, np.float32)})
    writer.commit({"epoch": 3, "history": []})
    assert opened.tensors("trunk")["w"].tolist() == [0, 1, 2, 3, 4]
    assert opened.rows("cells/intercept", 0, 4).tolist() == [2, 2, 3, 3]
    assert model.newest().state["epoch"] == 3
