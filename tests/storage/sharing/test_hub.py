"""Pushing a model to a repository of Hugging Face and pulling it: a stub of the hub, real HTTP."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

import atlasstore
from atlasstore.cards.store_card import CARD
from atlasstore.errors import (
    AccessDeniedError,
    AtlasError,
    MissingExtraError,
    StoreExistsError,
    UserInputError,
)
from atlasstore.files import urls
from atlasstore.sharing.copying import copy_store, pull_model, push_model
from atlasstore.sharing.hub import Repository, check_sign_in
from small_stores import everything
from stub_hub import TOKEN, Hub, served_hub

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("huggingface_hub") is None,
    reason="huggingface_hub (extra hub) is not installed",
)
NAME = "lab/worm-atac"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that takes one token, and holds nothing."""
    import huggingface_hub
    from huggingface_hub import constants

    made = Hub()
    with served_hub(made) as url:
        for name, value in {
            "HF_HOME": tmp_path / "home",
            "HF_TOKEN": TOKEN,
            "NO_PROXY": "*",
        }.items():
            monkeypatch.setenv(name, str(value))
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.HfFileSystem.clear_instance_cache()
        yield made
        huggingface_hub.HfFileSystem.clear_instance_cache()


def files_in(hub: Hub, branch: str = "main") -> dict[str, bytes]:
    return hub.commits[NAME][hub.branches[NAME][branch]]


@needs_hub
def test_pushed_and_pulled_it_is_the_same(stores, hub, tmp_path):
    report = push_model(stores.model, out=f"hf://{NAME}")
    assert report.out == f"hf://{NAME}@{hub.branches[NAME]['main']}"
    assert hub.private[NAME]
    assert b'license: "CC0-1.0"' in files_in(hub)[CARD]
    assert not [name for name in files_in(hub) if "/0000000001/" in name]
    assert len(hub.commits[NAME]) == 2, "one commit holds everything"
    pull_model(f"hf://{NAME}", out=tmp_path / "m.zarr")
    assert everything(str(tmp_path / "m.zarr")) == everything(stores.model)


@needs_hub
def test_it_is_read_there_without_a_copy(stores, hub):
    push_model(stores.model, out=f"hf://{NAME}/models/one", private=False)
    assert not hub.private[NAME]
    assert atlasstore.open(f"hf://{NAME}/models/one").n_cells == 4
    (found,) = atlasstore.list_stores(f"hf://{NAME}")
    assert (found.name, found.kind) == ("models/one", "model")


@needs_hub
def test_a_reader_keeps_its_version_when_another_is_pushed(stores, hub, tmp_path):
    first = push_model(stores.model, out=f"hf://{NAME}")
    with pytest.raises(
        StoreExistsError, match=f"push to a branch of its own, such as hf://{NAME}@v2"
    ):
        push_model(stores.model, out=f"hf://{NAME}")
    reader = atlasstore.open(first.out)
    hub.commit(NAME, "main", {"latest.json": b"{}", CARD: b"another"})
    assert reader.latest().state["epoch"] == 2
    pull_model(first.out, out=tmp_path / "m.zarr")
    assert everything(str(tmp_path / "m.zarr")) == everything(stores.model)


@needs_hub
def test_a_model_without_a_card_gets_one_there(stores, hub, tmp_path):
    copy_store(stores.model, out=tmp_path / "m.zarr")
    (tmp_path / "m.zarr" / CARD).unlink()
    push_model(tmp_path / "m.zarr", out=f"hf://{NAME}")
    assert b"# Model: 4 cells" in files_in(hub)[CARD]
    assert not (tmp_path / "m.zarr" / CARD).exists()


@needs_hub
def test_bytes_that_arrive_otherwise_are_found(stores, hub):
    hub.altered = "trunk.safetensors"
    with pytest.raises(AtlasError, match=r"trunk\.safetensors holds other bytes than were sent"):
        push_model(stores.model, out=f"hf://{NAME}")


@needs_hub
def test_a_refused_token_and_an_absent_repository(stores, hub, monkeypatch, tmp_path):
    with pytest.raises(UserInputError, match="is no repository that can be read"):
        pull_model("hf://lab/absent", out=tmp_path / "m.zarr")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(AccessDeniedError, match="was denied") as caught:
        push_model(stores.model, out=f"hf://{NAME}")
    assert "hf_other" not in str(caught.value)
    assert not hub.commits
    assert not (tmp_path / "m.zarr").exists()


@needs_hub
def test_who_may_push_is_known_before_anything_is_written(hub, monkeypatch):
    check_sign_in(f"hf://{NAME}")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(AccessDeniedError, match=f"Access to hf://{NAME} was denied") as caught:
        check_sign_in(f"hf://{NAME}")
    assert "hf_other" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserInputError, match=f"no token to push to hf://{NAME} with; set HF_TOKEN"):
        check_sign_in(f"hf://{NAME}")
    assert not hub.commits


@pytest.mark.parametrize("url", ["hf://lab", "hf://lab/a b", "hf://datasets", "hf://lab//x"])
def test_what_is_no_repository(url):
    with pytest.raises(UserInputError, match="is no repository of models"):
        Repository.of(url)


def test_parts_of_a_url():
    assert Repository.of("hf://lab/m@v2/a/b/") == Repository("lab/m", "v2", "a/b")
    assert Repository.of("hf://lab/m").url("abc") == "hf://lab/m@abc"
    assert Repository("lab/m", "v2", "a").url() == "hf://lab/m@v2/a"


def test_without_the_package_the_extra_is_named(stores, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub.hf_file_system", None)
    monkeypatch.delitem(importlib.import_module("fsspec.registry")._registry, "hf", raising=False)
    said = "hf:// URLs need an optional package; install it with: pip install"
    with pytest.raises(MissingExtraError, match=said):
        push_model(stores.model, out=f"hf://{NAME}")
    with pytest.raises(MissingExtraError, match=said):
        pull_model(f"hf://{NAME}", out=tmp_path / "m.zarr")
    with pytest.raises(MissingExtraError, match=said):
        urls.filesystem(f"hf://{NAME}")


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_a_bucket_takes_a_model_and_gives_it_back(stores, s3, tmp_path):
    push_model(stores.model, out="s3://bucket/pushed.zarr")
    pull_model("s3://bucket/pushed.zarr", out=tmp_path / "m.zarr")
    assert everything(str(tmp_path / "m.zarr")) == everything(stores.model)


def test_a_damaged_model_is_neither_pushed_nor_pulled(stores, tmp_path):
    copy_store(stores.model, out=tmp_path / "m.zarr")
    piece = next(Path(tmp_path / "m.zarr/checkpoints").rglob("trunk.safetensors"))
    content = piece.read_bytes()
    piece.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(AtlasError, match="checksum differs"):
        push_model(tmp_path / "m.zarr", out=tmp_path / "p.zarr")
    with pytest.raises(AtlasError, match="checksum differs"):
        pull_model(tmp_path / "m.zarr", out=tmp_path / "p.zarr")
    assert not (tmp_path / "p.zarr").exists()


@pytest.mark.s3
@pytest.mark.xdist_group("s3")
def test_what_arrives_damaged_is_not_kept(stores, s3, tmp_path):
    push_model(stores.model, out="s3://bucket/damaged.zarr")
    fs, path = urls.filesystem("s3://bucket/damaged.zarr/checkpoints/0000000002/trunk.safetensors")
    fs.pipe_file(path, fs.cat_file(path)[:-1] + b"x")
    with pytest.raises(AtlasError, match=r"damaged\.zarr is damaged, and nothing was kept of it"):
        pull_model("s3://bucket/damaged.zarr", out=tmp_path / "m.zarr")
    assert list(tmp_path.iterdir()) == []


def test_only_models(stores, tmp_path):
    with pytest.raises(UserInputError, match="is no model; copy takes stores of any kind"):
        push_model(stores.result, out=tmp_path / "r.zarr")
    with pytest.raises(UserInputError, match="cannot be written file by file"):
        copy_store(stores.result, out="hf://lab/r")
