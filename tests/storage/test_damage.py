"""Every file of every kind of store, lost, cut or changed: an error, or the same values; no others.

Only what is stored twice can be lost without an error: the metadata of arrays and groups, which the
root lists too, checkpoints before the newest, and the card, which repeats what the root says.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import atlasstore
from atlasstore.cards.store_card import CARD, write_card
from atlasstore.errors import (
    CorruptStoreError,
    FormatVersionError,
    NotAStoreError,
    TooLittleMemoryError,
)
from small_stores import everything, make_small_atlas, make_small_model, make_small_result


def with_card(url: str) -> str:
    write_card(url, licence="CC0-1.0")
    return url


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    return with_card(make_small_atlas(tmp_path_factory.mktemp("a") / "a.zarr"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return with_card(make_small_model(tmp_path_factory.mktemp("m") / "m.zarr"))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return with_card(make_small_result(tmp_path_factory.mktemp("r") / "r.zarr"))


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
    step = 307 if content[:1] == b"{" else max(1, len(content) // 3)
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
    if below[0] == "labels" and len(below) == 3 and len(below[1]) == 32:
        return False  # the root of a model's later labels, which lists what is below
    return (path.name == "zarr.json" and len(below) > 1) or below == (CARD,)


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
