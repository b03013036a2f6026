"""Model stores: checkpoints appear whole, stay until replaced, and damage is named."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError
from atlasstore.files import urls
from atlasstore.models.fall_back import check_checkpoint
from atlasstore.models.model_store import ModelStore
from atlasstore.zarrio import arrays

N, E, BLOCK = 10, 3, 4
TABLES = {"cells/embedding": (E,), "cells/intercept": ()}


@pytest.fixture(params=["local", "memory"])
def store(request, tmp_path):
    url = str(tmp_path / "m") if request.param == "local" else f"memory://{tmp_path.name}/m"
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(N)])
    return ModelStore.create(url, obs=obs, config={"a": 1}, block_cells=BLOCK, provenance={})


def begin(store, step):
    writer = store.write_checkpoint(step)
    writer.begin(TABLES)
    return writer


def commit(store, step):
    writer = begin(store, step)
    writer.write_rows("cells/embedding", 0, np.full((BLOCK, E), step, np.float32))
    writer.write_rows("cells/embedding", BLOCK, np.full((N - BLOCK, E), step, np.float32))
    writer.write_rows("cells/intercept", 0, np.arange(N, dtype=np.float32))
    writer.write_tensors("trunk", {"w": np.arange(6.0).reshape(2, 3), "step": np.float32(7)})
    writer.commit({"step": step})


def test_what_is_written_is_read(store):
    assert store.latest() is None
    with pytest.raises(NotAStoreError, match="holds no checkpoint yet"):
        store.newest()
    commit(store, 5)
    found = ModelStore.open(store.url).newest()
    assert found.state == {"step": 5}
    np.testing.assert_array_equal(found.rows("cells/embedding", 2, 7), np.full((5, E), 5))
    tensors = found.tensors("trunk")
    assert tensors["w"].shape == (2, 3)
    assert tensors["step"].shape == ()
    assert found.has_tensors("trunk")
    assert not found.has_tensors("optimizer")
    assert list(store.obs.index) == [f"cell{i}" for i in range(N)]
    assert [b.start for b in store.blocks] == [0, 4, 8]


def test_a_checkpoint_has_what_other_processes_began_and_wrote(store):
    begin(store, 1)
    store.write_checkpoint(1).begin(TABLES, over=True)
    parts = [store.write_checkpoint(1) for _ in range(2)]
    values = {name: np.arange(2.0 * N, dtype=np.float32) for name in TABLES}
    for part, (start, stop) in zip(parts, [(0, BLOCK), (BLOCK, N)], strict=True):
        for name, shape in TABLES.items():
            values[name] = np.resize(values[name], (N, *shape))
            part.write_rows(name, start, values[name][start:stop])
    last = store.write_checkpoint(1)
    with pytest.raises(ValueError, match="not all blocks of cells/embedding"):
        last.commit({"step": 1})
    blocks = {name: parts[0].blocks[name] | parts[1].blocks[name] for name in TABLES}
    last.commit({"step": 1}, blocks=blocks)
    assert store.newest().tables == tuple(TABLES)
    for name in TABLES:
        np.testing.assert_array_equal(store.newest().rows(name, 0, N), values[name])


def test_an_unfinished_checkpoint_does_not_exist(store):
    commit(store, 1)
    begin(store, 2)
    assert store.newest().state == {"step": 1}


def test_the_newest_survives_what_killed_writers_left_at_later_steps(store):
    """Checkpoints within an epoch go by the clock: a resumed run may commit at earlier steps."""
    commit(store, 200)
    begin(store, 300)
    begin(store, 310)
    commit(store, 250)
    assert store.newest().state == {"step": 250}
    names = urls.list_names(urls.join(store.url, "checkpoints"))
    assert names == ["0000000200", "0000000250"]


def test_old_checkpoints_go(store):
    for step in (1, 2, 3):
        commit(store, step)
    assert len(urls.list_names(urls.join(store.url, "checkpoints"))) == 2


@pytest.mark.parametrize("content", [b"cut", None], ids=["cut", "lost"])
def test_damage_of_a_tensor_file_says_what_to_do(store, content):
    commit(store, 1)
    file = urls.join(store.newest().url, "trunk.safetensors")
    urls.delete(file) if content is None else urls.write_bytes(file, content)
    with pytest.raises(
        CorruptStoreError, match=f"{file}.*is damaged: copy.* or delete {store.url}"
    ):
        store.newest().tensors("trunk")


def test_a_lost_piece_is_not_zeros(store):
    commit(store, 1)
    urls.delete(urls.join(store.newest().url, "cells/embedding/c.1.0"))
    with pytest.raises(CorruptStoreError, match="cells/embedding has 2 of its 3 stored pieces"):
        store.newest().rows("cells/embedding", 0, N)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("cells/embedding/c.1.0", "cells/embedding/c.0.0"),
        ("optimizer/exp_avg/c.1.0", "cells/embedding/c.1.0"),
        ("../0000000001/cells/embedding/c.1.0", "cells/embedding/c.1.0"),
    ],
    ids=["another block", "another table", "an earlier time"],
)
def test_an_intact_chunk_in_the_place_of_another_is_noticed(store, source, target):
    for step in (1, 2):
        writer = store.write_checkpoint(step)
        writer.begin(TABLES | {"optimizer/exp_avg": (E,)})
        rng = np.random.default_rng(step)
        for name, shape in writer_shapes(writer).items():
            writer.write_rows(name, 0, rng.normal(size=shape).astype(np.float32))
        writer.commit({"step": step})
    found = store.newest()
    folder, name = found.url.rpartition("/")[0], source.removeprefix("../")
    place = urls.join(folder if name != source else found.url, name)
    urls.write_bytes(urls.join(found.url, target), urls.read_bytes(place))
    start = BLOCK * int(target.split(".")[1])
    with pytest.raises(CorruptStoreError, match=f"cells {start} to {start + BLOCK} are not what"):
        found.rows("cells/embedding", start + 1, start + 2)
    with pytest.raises(CorruptStoreError, match="are not what was written"):
        check_checkpoint(store, found)


def writer_shapes(writer):
    group = urls.open_group(writer.url)
    return {t: group[t].shape for t in (*TABLES, "optimizer/exp_avg")}


def test_models_of_earlier_versions_without_checksums_of_blocks_are_read(store):
    commit(store, 1)
    place = urls.join(store.newest().url, "manifest.json")
    manifest = json.loads(urls.read_bytes(place))
    del manifest["blocks"]
    urls.write_bytes(place, json.dumps(manifest).encode())
    urls.write_bytes(urls.join(store.url, "latest.json"), b'{"checkpoint": "0000000001"}')
    np.testing.assert_array_equal(store.newest().rows("cells/embedding", 2, 7), np.ones((5, E)))


@pytest.mark.parametrize("lost", ["state", "checksums"])
def test_a_manifest_that_lacks_something_is_damage(store, lost):
    commit(store, 1)
    place = urls.join(store.newest().url, "manifest.json")
    manifest = json.loads(urls.read_bytes(place))
    del manifest[lost]
    urls.write_bytes(place, json.dumps(manifest).encode())
    urls.write_bytes(urls.join(store.url, "latest.json"), b'{"checkpoint": "0000000001"}')
    with pytest.raises(CorruptStoreError, match=f"is no manifest.*{lost}"):
        store.newest()


@pytest.mark.parametrize("file", ["trunk.safetensors", "cells/embedding/c.0.0", "manifest.json"])
def test_a_flipped_or_cut_file_is_named(store, file):
    commit(store, 1)
    url = urls.join(store.newest().url, file)
    content = bytearray(urls.read_bytes(url))
    content[len(content) // 2] ^= 0xFF
    urls.write_bytes(url, bytes(content[:-1]))
    named = "|".join([file, "cells/embedding"])
    with pytest.raises(CorruptStoreError, match=named):
        read_everything(store)


def read_everything(store):
    found = store.newest()
    return found.tensors("trunk"), found.rows("cells/embedding", 0, N)


def test_rows_begin_at_a_block(store):
    writer = begin(store, 1)
    with pytest.raises(ValueError, match="block's first cell"):
        writer.write_rows("cells/intercept", 2, np.zeros(2, np.float32))


def test_nothing_is_replaced(store):
    with pytest.raises(StoreExistsError):
        ModelStore.create(store.url, obs=store.obs, config={}, block_cells=BLOCK, provenance={})


def test_an_intact_map_in_the_place_of_another_is_noticed(store):
    labels = pd.DataFrame({"type": ["T"] * N}, index=store.obs.index)
    maps = {"X_umap": np.arange(2.0 * N).reshape(N, 2), "X_tsne": np.ones((N, 2))}
    store.write_labels(labels, maps=maps)
    np.testing.assert_array_equal(store.obsm["X_tsne"], maps["X_tsne"])
    folder = urls.join(store.labels_url(), "obsm")
    source = next(n for n in arrays.stored_files(folder, "X_umap") if not n.endswith("zarr.json"))
    target = urls.join(folder, source.replace("X_umap", "X_tsne"))
    urls.write_bytes(target, urls.read_bytes(urls.join(folder, source)))
    with pytest.raises(CorruptStoreError, match="obsm is lost or is not what was written"):
        _ = ModelStore.open(store.url).obsm
