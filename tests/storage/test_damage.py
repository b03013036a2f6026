"""Every file of every kind of store, lost, cut or changed: an error, or the same values; no others.

Only what is stored twice can be lost without an error: the metadata of arrays and groups, which the
root lists too, and checkpoints before the newest.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import atlasstore
from atlasstore.atlas.atlas import Atlas
from atlasstore.errors import (
    CorruptStoreError,
    FormatVersionError,
    NotAStoreError,
    TooLittleMemoryError,
)
from atlasstore.inspect_store import inspect_store
from atlasstore.models.model_store import ModelStore
from atlasstore.results.result import Result
from atlasstore.results.writer import create_result, finish_result, write_rows
from atlasstore.zarrio.table_plan import plan_table
from small_atlas import make_atlas, random_labels

N_CELLS, N_PEAKS, WIDTH = 4, 3, 2


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 4, (N_PEAKS, 198), dtype=np.uint8)
    labels = random_labels(rng, N_CELLS, N_PEAKS, density=0.5)
    return make_atlas(tmp_path_factory.mktemp("a") / "a.zarr", labels, codes, max_block_cells=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    url = tmp_path_factory.mktemp("m") / "m.zarr"
    store = ModelStore.create(
        url,
        obs=cells(),
        config={"seed": 1},
        block_cells=2,
        batches=["left", "right"],
        provenance={"seed": 3},
    )
    for step in (1, 2):
        writer = store.write_checkpoint(step)
        writer.begin({"cells/embedding": (WIDTH,), "cells/intercept": ()})
        for block in store.blocks:
            for name, shape in (("embedding", (WIDTH,)), ("intercept", ())):
                values = np.full((block.n_cells, *shape), step + block.index, np.float32)
                writer.write_rows(f"cells/{name}", block.start, values)
        writer.write_tensors("trunk", {"w": np.arange(5, dtype=np.float32)})
        writer.write_tensors("peaks", {"deviation": np.eye(WIDTH, dtype=np.float32)})
        state = {"epoch": step, "history": [{"epoch": n + 1, "loss": 0.5} for n in range(step)]}
        writer.commit(state)
        store.write_metrics(state["history"])
    kinds = pd.Categorical(["x", None, "y", "x"])
    store.write_labels(pd.DataFrame({"kind": kinds, "score": np.zeros(N_CELLS)}, cells().index))
    return str(url)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("r") / "r.zarr")
    plan = plan_table("X", (N_CELLS, N_PEAKS), "float32")
    create_result(
        url,
        kind="denoised",
        obs=cells(),
        var=pd.DataFrame({"chrom": ["c1"] * N_PEAKS}, index=[f"p{i}" for i in range(N_PEAKS)]),
        obsm={"X_scbasset": np.zeros((N_CELLS, WIDTH), np.float32)},
        varm={"scbasset_sequence": np.ones((N_PEAKS, WIDTH), np.float32)},
        tables=[plan],
        about={"scale": "linear", "flags": np.zeros(2, np.int64), "n": 0, "on": False},
    )
    receipt = write_rows(url, plan, 0, np.zeros((N_CELLS, N_PEAKS), np.float32))
    finish_result(url, {"seed": 2}, shards=[receipt])
    return url


def cells() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "type": pd.Categorical(["a", "b", "a", "b"]),
            "depth": np.zeros(N_CELLS, np.int64),
            "flag": pd.array([True, None, False, True], dtype="boolean"),
        },
        index=[f"cell{i}" for i in range(N_CELLS)],
    )


def everything(url: str) -> str:
    """Read and verify all of a store; return its values as text."""
    inspect_store(url, verify=True)
    store = atlasstore.open(url)
    found = {"provenance": store.provenance, "obs": store.obs.to_csv()}
    if isinstance(store, Atlas):
        rows = [store.labels(block.index) for block in store.blocks]
        found |= {
            "var": store.var.to_csv(),
            "codes": store.sequence_codes(0, N_PEAKS).tolist(),
            "labels": [(r.indptr.tolist(), r.indices.tolist()) for r in rows],
        }
    elif isinstance(store, ModelStore):
        newest = store.newest()
        names = ("cells/embedding", "cells/intercept")
        found |= {
            "config": store.config,
            "batches": store.batches,
            "state": newest.state,
            "trunk": newest.tensors("trunk")["w"].tolist(),
            "peaks": newest.tensors("peaks")["deviation"].tolist(),
            "cells": [newest.rows(name, 0, N_CELLS).tolist() for name in names],
        }
    elif isinstance(store, Result):
        found |= {
            "var": store.var.to_csv(),
            "about": repr(store.about),
            "tables": [store.rows(name).tolist() for name in store.tables],
        }
    return json.dumps(found, sort_keys=True)


def values(url: str) -> str | None:
    """Everything, or None where an error of ours says that the store is damaged."""
    try:
        return everything(url)
    except (CorruptStoreError, NotAStoreError, FormatVersionError):
        return None


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flips(content: bytes) -> list[bytes]:
    """The content with one byte changed: at its ends and about the middle; text at many places."""
    step = 101 if content[:1] == b"{" else max(1, len(content) // 3)
    places = {0, len(content) - 1, *range(step // 2, len(content), step)}
    return [content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] for at in sorted(places)]


def damages(path: Path, url: str) -> list[bytes | None]:
    """What is put in place of a file; None for nothing."""
    content = path.read_bytes()
    if is_redundant(path, url):
        return [None, cut(content)]
    return [None, b"", cut(content), *flips(content)]


def is_redundant(path: Path, url: str) -> bool:
    below = path.relative_to(url).parts
    if below[0] == "checkpoints":
        return below[1] != "0000000002" or below[-2:] == ("cells", "zarr.json")
    return path.name == "zarr.json" and len(below) > 1


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")  # of a member without metadata
@pytest.mark.parametrize("kind", ["atlas", "model", "result"])
def test_no_damage_passes_for_values(request, kind):
    url = request.getfixturevalue(kind)
    right = everything(url)
    for path in sorted(p for p in Path(url).rglob("*") if p.is_file()):
        content = path.read_bytes()
        for damage in damages(path, url):
            path.unlink() if damage is None else path.write_bytes(damage)
            found = values(url)
            path.write_bytes(content)
            assert found in (None, right), (path, damage)
            if not damage:
                assert found is None or is_redundant(path, url), path
    assert everything(url) == right


def edited(url: str, copy: Path, old: str, new: str) -> str:
    """A copy of a store with its root metadata changed, and its digest left out."""
    shutil.copytree(url, copy)
    root = json.loads((copy / "zarr.json").read_text())
    del root["attributes"]["metadata_sha256"]
    content = json.dumps(root)
    assert old in content
    (copy / "zarr.json").write_text(content.replace(old, new))
    return str(copy)


@pytest.mark.parametrize("number", [str(10**15), "9" * 5000, "1e999", "-1", "null"])
@pytest.mark.parametrize("kind", ["atlas", "model"])
def test_absurd_numbers_of_cells(request, tmp_path, kind, number):
    url = request.getfixturevalue(kind)
    copy = edited(url, tmp_path / "s.zarr", '"n_cells": 4', f'"n_cells": {number}')
    with pytest.raises(CorruptStoreError, match="the store is damaged"):
        atlasstore.open(copy)


def test_shapes_and_chunks_beyond_memory(atlas, tmp_path):
    one = '"shape": [4], "data_type": "int64"'
    copy = edited(atlas, tmp_path / "a.zarr", one, one.replace("[4]", f"[{10**15}]"))
    with pytest.raises(CorruptStoreError, match="of its 250000000000000 stored pieces"):
        _ = atlasstore.open(copy).obs
    shard = '"chunk_shape": [3, 198, 4]'
    copy = edited(atlas, tmp_path / "b.zarr", shard, f'"chunk_shape": [{10**12}, 198, 4]')
    with pytest.raises((CorruptStoreError, TooLittleMemoryError)):
        atlasstore.open(copy).sequence_codes(0, 3)
