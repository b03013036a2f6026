"""A damaged newest checkpoint: the one before takes its place, and nothing else does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.models.fall_back import check_checkpoint, fall_back
from atlasstore.models.model_store import ModelStore

N, BLOCK = 10, 4
FILES = ("cells/embedding/c.1.0", "trunk.safetensors", "manifest.json")


@pytest.fixture
def store(tmp_path):
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(N)])
    url = str(tmp_path / "m")
    return ModelStore.create(url, obs=obs, config={}, block_cells=BLOCK, provenance={})


def commit(store, step):
    writer = store.write_checkpoint(step)
    writer.begin({"cells/embedding": (3,)})
    writer.write_rows("cells/embedding", 0, np.full((N, 3), step, np.float32))
    writer.write_tensors("trunk", {"w": np.arange(6.0)})
    writer.commit({"epoch": step})


def damage(checkpoint, file, content):
    place = urls.join(checkpoint.url, file)
    if content is None:
        urls.delete(place)
    else:
        whole = urls.read_bytes(place)
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        urls.write_bytes(place, flipped if content == "flipped" else whole[:middle])


@pytest.mark.parametrize("content", [None, "flipped", "halved"])
@pytest.mark.parametrize("file", FILES)
def test_the_one_before_is_taken(store, file, content):
    for step in (1, 2):
        commit(store, step)
    damage(store.newest(), file, content)
    said = fall_back(store)
    assert said is not None
    assert "is damaged" in said
    assert "goes on from the one before, after epoch 1" in said
    found = ModelStore.open(store.url).newest()
    assert found.state == {"epoch": 1}
    check_checkpoint(store, found)
    assert fall_back(store) is None
    commit(store, 2)
    assert store.newest().state == {"epoch": 2}


def test_whole_ones_and_none_stay_what_they_are(store):
    assert fall_back(store) is None
    for step in (1, 2):
        commit(store, step)
    store.write_checkpoint(3).begin({"cells/embedding": (3,)})
    assert fall_back(store) is None
    assert store.newest().state == {"epoch": 2}


@pytest.mark.parametrize("n_checkpoints", [1, 2])
def test_where_none_is_whole_the_damage_is_told(store, n_checkpoints):
    for step in range(n_checkpoints):
        commit(store, step)
        damage(store.newest(), "trunk.safetensors", "flipped")
    newest = store.newest().url
    with pytest.raises(CorruptStoreError, match=f"{newest}/trunk.safetensors"):
        fall_back(store)
    assert store.newest().url == newest
