"""The atlas store, written and read; `_atlas_writer`, `_atlas_check` and `atlas` together."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import sparse
from zarr.storage import LocalStore

from atlasstore.atlas.atlas import Atlas
from atlasstore.atlas.writer import ArraySizes, write_atlas
from atlasstore.errors import CorruptStoreError, NotAStoreError, StoreExistsError, UserInputError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.zarrio import arrays, formats
from atlasstore.zarrio.blocks import plan_cell_blocks
from small_atlas import make_atlas as make_small_atlas
from small_atlas import make_peaks, random_labels

make_atlas = partial(make_small_atlas, min_blocks=16)  # as atlases have them
N_CELLS, N_PEAKS, STORED_BP = 203, 37, 198


@pytest.fixture(scope="module")
def labels():
    labels = random_labels(np.random.default_rng(1), N_CELLS, N_PEAKS)
    labels[:, 5] = False  # a peak open nowhere
    labels[:, 6] = True
    return labels


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(2).integers(0, 5, (N_PEAKS, STORED_BP), dtype=np.uint8)


@pytest.fixture(params=["local", "memory"])
def url(request, tmp_path):
    where = f"memory://atlas/{tmp_path.name}/a.zarr"
    yield str(tmp_path / "a.zarr") if request.param == "local" else where
    urls.delete(where)


@pytest.fixture(scope="module")
def original(tmp_path_factory, labels, codes):
    return make_atlas(tmp_path_factory.mktemp("original") / "a.zarr", labels, codes)


@pytest.fixture
def copied(original, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(original, tmp_path / "a.zarr")


def dense(atlas: Atlas, block: int, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Labels of one block as cells x peaks."""
    rows = atlas.labels(block, start, stop)
    n_peaks = len(rows.indptr) - 1
    found = np.zeros((atlas.blocks[block].n_cells, n_peaks), bool)
    found[rows.indices, np.repeat(np.arange(n_peaks), np.diff(rows.indptr))] = True
    return found


def test_what_was_written_is_read(url, labels, codes):
    atlas = Atlas.open(make_atlas(url, labels, codes))
    assert (atlas.n_cells, atlas.n_peaks) == labels.shape
    assert (atlas.window_bp, atlas.flank_bp, atlas.format_version) == (192, 3, 1)
    assert atlas.n_positives == labels.sum() == sum(atlas.block_positives)
    assert atlas.density == pytest.approx(labels.mean())
    assert list(atlas.obs.index[:2]) == ["cell0", "cell1"]
    assert list(atlas.var.columns) == ["chrom", "start", "end", "split"]
    assert atlas.provenance["seed"] == 0
    np.testing.assert_array_equal(atlas.sequence_codes(0, N_PEAKS), codes)
    np.testing.assert_array_equal(atlas.sequence_codes(11, 20), codes[11:20])
    for block, positives in zip(atlas.blocks, atlas.block_positives, strict=True):
        of_block = labels[block.start : block.stop]
        np.testing.assert_array_equal(dense(atlas, block.index), of_block)
        assert positives == of_block.sum()
    atlas.verify()


def test_peak_ranges_of_labels(original, labels):
    atlas = Atlas.open(original)
    for start, stop in [(0, 1), (5, 6), (4, 30), (36, 37), (8, 8)]:
        block = atlas.blocks[3]
        rows = atlas.labels(3, start, stop)
        assert rows.indptr.dtype == np.int64
        assert rows.indices.dtype == np.uint16
        assert rows.indptr[0] == 0
        np.testing.assert_array_equal(
            dense(atlas, 3, start, stop), labels[block.start : block.stop, start:stop]
        )


@pytest.mark.parametrize("rows", [(-1, 3), (3, 2), (0, N_PEAKS + 1)])
def test_rows_outside_are_refused(original, labels, rows):
    atlas = Atlas.open(original)
    with pytest.raises(IndexError, match="are not within"):
        atlas.sequence_codes(*rows)
    with pytest.raises(IndexError, match="are not within"):
        atlas.labels(0, *rows)


SMALL = ArraySizes(chunk_bytes=8 * STORED_BP * 4, sequence_shard_bytes=16 * STORED_BP * 4)


def test_many_shards_chunks_and_blocks(tmp_path, labels, codes):
    sizes = {"max_block_cells": 9, "sizes": replace(SMALL, indptr_chunk=4)}
    atlas = Atlas.open(make_atlas(tmp_path / "a.zarr", labels, codes, **sizes))
    assert (atlas.array("sequence").chunks[0], atlas.array("sequence").shards[0]) == (8, 16)
    assert len(atlas.blocks) == 23
    np.testing.assert_array_equal(atlas.sequence_codes(7, 33), codes[7:33])
    np.testing.assert_array_equal(atlas.to_anndata().X.toarray() > 0, labels)
    atlas.verify()


def test_full_block_uses_every_uint16(tmp_path, codes):
    labels = np.zeros((65_536, 2), bool)
    labels[[0, 65_535], 0] = True
    labels[:, 1] = True
    blocks = plan_cell_blocks(65_536, min_blocks=1)
    assert len(blocks) == 1
    with write_atlas(
        tmp_path / "a.zarr",
        obs=_obs(65_536),
        var=make_peaks(2).assign(split="train"),
        cell_blocks=blocks,
        window_bp=192,
        flank_bp=3,
        provenance={},
    ) as writer:
        writer.write_sequences(0, codes[:2])
        writer.write_labels(0, sparse.csr_array(labels.astype(np.uint8)))
    atlas = Atlas.open(tmp_path / "a.zarr")
    assert atlas.labels(0, 0, 1).indices.tolist() == [0, 65_535]
    atlas.verify()


def _obs(n_cells: int) -> pd.DataFrame:
    return pd.DataFrame({"sample": "one"}, index=[str(i) for i in range(n_cells)])


def test_peak_rows(original):
    atlas = Atlas.open(original)
    rows = [atlas.peak_rows(split) for split in ("train", "valid", "test")]
    assert sorted(np.concatenate(rows).tolist()) == list(range(N_PEAKS))
    assert set(atlas.var["split"].iloc[rows[1]]) == {"valid"}
    with pytest.raises(UserInputError, match="no split 'validation'; use one of train"):
        atlas.peak_rows("validation")


def test_to_anndata(url, labels, codes):
    table = Atlas.open(make_atlas(url, labels, codes)).to_anndata()
    assert isinstance(table, anndata.AnnData)
    assert sparse.issparse(table.X)
    assert table.X.dtype == np.uint8
    np.testing.assert_array_equal(table.X.toarray(), labels.astype(np.uint8))
    assert list(table.var_names) == list(make_peaks(N_PEAKS).index)


def test_only_codecs_of_the_specification(original):
    names = set()
    for file in Path(original).rglob("zarr.json"):
        for codec in json.loads(file.read_text()).get("codecs", []):
            inner = codec.get("configuration", {}).get("codecs", [])
            names |= {each["name"] for each in (codec, *inner)}
    assert names <= {"bytes", "blosc", "zstd", "crc32c", "sharding_indexed", "vlen-utf8"}


def test_anything_there_is_refused(url, labels, codes):
    make_atlas(url, labels, codes)
    with pytest.raises(StoreExistsError, match="exists already"):
        make_atlas(url, labels, codes)
    Atlas.open(url).verify()


def test_error_while_writing_leaves_nothing(url, labels, codes):
    blocks = plan_cell_blocks(N_CELLS)
    plan = {"cell_blocks": blocks, "window_bp": 192, "flank_bp": 3, "provenance": {}}
    with (
        pytest.raises(RuntimeError, match="disk is full"),
        write_atlas(url, obs=_obs(N_CELLS), var=make_peaks(N_PEAKS), **plan) as writer,
    ):
        writer.write_labels(0, _BrokenMatrix())
    assert not urls.exists(url)
    assert urls.list_names(url.rpartition("/")[0]) == []


class _BrokenMatrix:
    shape = (13, N_PEAKS)

    def tocsc(self):
        raise RuntimeError("the disk is full")


def test_unfinished_atlas_is_told_apart(labels, codes):
    url = "memory://atlas/unfinished.zarr"
    plan = {"cell_blocks": plan_cell_blocks(N_CELLS), "window_bp": 192, "flank_bp": 3}
    with (
        pytest.raises(NotAStoreError, match="is an incomplete atlas"),
        write_atlas(url, obs=_obs(N_CELLS), var=make_peaks(N_PEAKS), **plan, provenance={}),
    ):
        Atlas.open(url)


def _write_some(url, labels, codes, *, twice: bool) -> None:
    blocks = plan_cell_blocks(N_CELLS)
    plan = {"cell_blocks": blocks, "window_bp": 192, "flank_bp": 3, "provenance": {}}
    rows = sparse.csr_array(labels[: blocks[0].n_cells].astype(np.uint8))
    with write_atlas(url, obs=_obs(N_CELLS), var=make_peaks(N_PEAKS), **plan) as writer:
        writer.write_labels(0, rows)
        if twice:
            writer.write_labels(0, rows)
        with pytest.raises(ValueError, match="not those of block 15"):
            writer.write_labels(15, rows)  # the last block is smaller
        with pytest.raises(ValueError, match="no run"):
            writer.write_sequences(1, codes[1:])  # not aligned
        writer.write_sequences(0, codes)


def test_writer_refuses_what_does_not_fit(tmp_path, labels, codes):
    with pytest.raises(ValueError, match="not those of block 0"):
        _write_some(tmp_path / "a", labels, codes, twice=True)
    with pytest.raises(ValueError, match="lacks 0 runs of sequences and 15 blocks"):
        _write_some(tmp_path / "a", labels, codes, twice=False)
    with pytest.raises(ValueError, match="no run"):
        make_atlas(tmp_path / "a", labels, codes[:-1])
    assert list(tmp_path.iterdir()) == []


def test_no_store_at_all(tmp_path):
    with pytest.raises(NotAStoreError, match="x does not exist; check the path or URL"):
        Atlas.open(tmp_path / "x")
    (tmp_path / "x").mkdir()
    with pytest.raises(NotAStoreError, match="is not a zarr store"):
        Atlas.open(tmp_path / "x")


def rewrite(atlas_path, name: str, values: np.ndarray) -> None:
    zarr.open_group(atlas_path, mode="r+", use_consolidated=False)[name][:] = values


@pytest.mark.parametrize(
    "name", ["sequence", "labels/3/indptr", "labels/3/indices", "obs/n_peaks", "var/start"]
)
@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_verify_finds_damage_in_any_array(copied, name, damage):
    pieces = [p for p in (copied / name).rglob("*") if p.is_file() and p.name != "zarr.json"]
    file = max(pieces)
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
    elif damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    with pytest.raises(CorruptStoreError, match=name.split("/")[0]) as caught:
        Atlas.open(copied).verify()
    if name.startswith("labels"):
        assert "labels/3" in str(caught.value)


def test_verify_finds_an_absent_array(copied):
    shutil.rmtree(copied / "labels/7/indices")
    with pytest.raises(CorruptStoreError, match="labels/7/indices"):
        Atlas.open(copied).verify()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        pytest.param("labels/2/indices", lambda x: x[::-1], "do not rise", id="order"),
        pytest.param("labels/2/indices", lambda x: x + 100, "past the block's 13", id="range"),
        pytest.param("labels/2/indptr", lambda x: x[::-1], "row starts do not rise", id="starts"),
        pytest.param("labels/2/indptr", lambda x: x * 0, "0 positives where", id="count"),
        pytest.param("sequence", lambda x: x | True, "more than one channel", id="bases"),
    ],
)
def test_verify_finds_wrong_content_with_right_checksums(copied, name, change, message):
    rewrite(copied, name, change(Atlas.open(copied).array(name)[:]))
    with pytest.raises(CorruptStoreError, match=message):
        Atlas.open(copied).verify()


def exchange(one, other):
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def test_verify_finds_sequences_in_each_other_s_place(tmp_path, labels, codes):
    atlas = Atlas.open(make_atlas(tmp_path / "a.zarr", labels, codes, sizes=SMALL))
    atlas.verify()
    exchange(*(tmp_path / "a.zarr/sequence" / f"c.{i}.0.0" for i in (0, 1)))
    with pytest.raises(CorruptStoreError, match="peaks 0 to 16: not the values that were written"):
        Atlas.open(tmp_path / "a.zarr").verify()


def test_verify_finds_labels_of_another_version(copied, tmp_path, labels, codes):
    cells = labels.copy()
    cells[:13] = cells[:13][::-1]  # as many open cells of every peak, but others
    make_atlas(tmp_path / "other.zarr", cells, codes)
    theirs = tmp_path / "other.zarr/labels/0/indices/c.0"
    (copied / "labels/0/indices/c.0").write_bytes(theirs.read_bytes())
    with pytest.raises(CorruptStoreError, match="block 0: not the values that were written"):
        Atlas.open(copied).verify()


def test_missing_labels_are_an_error_not_a_crash(copied):
    (copied / "labels/3/indices/c.0").unlink()
    atlas = Atlas.open(copied)
    with pytest.raises(CorruptStoreError, match="labels/3/indices has 0 of its 1"):
        atlas.labels(3)
    with pytest.raises(CorruptStoreError, match="labels/3/indices"):
        atlas.to_anndata()
    assert len(atlas.labels(2).indptr) == N_PEAKS + 1


def test_missing_labels_of_a_full_block(tmp_path, codes):
    """Where every uint16 is a cell, a missing piece reads as the last cell."""
    labels = np.zeros((65_536, 2), bool)
    labels[[0, 65_535]] = True
    plan = {"cell_blocks": plan_cell_blocks(65_536, min_blocks=1), "window_bp": 192, "flank_bp": 3}
    var = make_peaks(2).assign(split="train")
    with write_atlas(tmp_path / "a", obs=_obs(65_536), var=var, **plan, provenance={}) as writer:
        writer.write_sequences(0, codes[:2])
        writer.write_labels(0, sparse.csr_array(labels.astype(np.uint8)))
    assert Atlas.open(tmp_path / "a").labels(0).indices.tolist() == [0, 65_535] * 2
    (tmp_path / "a/labels/0/indices/c.0").unlink()
    with pytest.raises(CorruptStoreError, match="labels/0/indices has 0 of its 1"):
        Atlas.open(tmp_path / "a").labels(0)


def test_cells_past_the_block_are_refused_when_read(copied):
    name = "labels/2/indices"
    rewrite(copied, name, Atlas.open(copied).array(name)[:] + 100)
    with pytest.raises(CorruptStoreError, match="block 2: a cell index past the block's 13"):
        Atlas.open(copied).labels(2)


@pytest.mark.parametrize("damage", ["delete", "empty"])
def test_missing_sequences_are_an_error_not_unknown_bases(tmp_path, labels, codes, damage):
    atlas = Atlas.open(make_atlas(tmp_path / "a.zarr", labels, codes, sizes=SMALL))
    file = tmp_path / "a.zarr/sequence/c.1.0.0"
    file.unlink() if damage == "delete" else file.write_bytes(b"")
    np.testing.assert_array_equal(atlas.sequence_codes(0, 16), codes[:16])
    with pytest.raises(CorruptStoreError, match=r"sequence( has 2 of its 3|, rows 15 to 17)"):
        atlas.sequence_codes(15, 17)


def test_windows_of_unknown_bases_are_looked_into_once(tmp_path, labels, codes, monkeypatch):
    atlas = Atlas.open(make_atlas(tmp_path / "a.zarr", labels, np.full_like(codes, 4)))
    looked, check = [], arrays.check_chunks
    monkeypatch.setattr(arrays, "check_chunks", lambda *a, **k: looked.append(a) or check(*a, **k))
    for _ in range(3):
        assert (atlas.sequence_codes(0, N_PEAKS) == 4).all()
    assert len(looked) == 1


def test_verify_reports_progress(copied):
    events: list[Progress] = []
    Atlas.open(copied).verify(on_event=events.append)
    assert events[-1] == Progress("checking labels", 16, 16, "blocks")


def test_newer_version_is_refused(copied):
    zarr.open_group(copied, mode="r+").attrs.update({"format_version": 9})
    with pytest.raises(UserInputError, match="version 9"):
        Atlas.open(copied)


def test_open_and_label_reads_touch_only_what_is_needed(original, labels, monkeypatch):
    read: list[str] = []
    get = LocalStore.get

    async def spy(self, key, *args, **kwargs):
        read.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocalStore, "get", spy)
    atlas = Atlas.open(original)
    assert {Path(key).name for key in read} == {"zarr.json"}
    read.clear()
    atlas.labels(4, 3, 9)
    assert {key.rpartition("/")[0] for key in read} == {"labels/4/indptr", "labels/4/indices"}


def test_formats_of_the_store(copied):
    attrs = json.loads((copied / "zarr.json").read_text())["attributes"]
    assert attrs["format"] == formats.ATLAS
    assert attrs["block_cells"] == 13


@pytest.mark.parametrize(
    "changed",
    [
        {"n_cells": 10**15},
        {"block_cells": 0},
        {"block_cells": 10**9},
        {"n_cells": -1},
        {"n_peaks": "many"},
        {"block_positives": None},
        {"appends": [0, 5]},
        {"format_version": None},
    ],
    ids=str,
)
def test_sizes_that_do_not_fit_are_damage(copied, changed):
    place = Path(copied) / "zarr.json"
    root = json.loads(place.read_text())
    root["attributes"] |= changed
    place.write_text(json.dumps(root))
    with pytest.raises(CorruptStoreError, match="the store is damaged"):
        Atlas.open(copied)
