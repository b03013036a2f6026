"""Model stores: checkpoints appear whole, stay until replaced, and damage is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError
from atlasstore.files import urls
from atlasstore.models.model_store import ModelStore

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


def test_a_checkpoint_names_tables_that_another_process_began(store):
    begin(store, 1)
    writer = store.write_checkpoint(1)
    writer.begin(TABLES, over=True)
    store.write_checkpoint(1).commit({"step": 1})
    assert store.newest().tables == tuple(TABLES)


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
