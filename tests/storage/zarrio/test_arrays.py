from __future__ import annotations

import json

import numpy as np
import pytest

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.zarrio import arrays


@pytest.fixture
def group(tmp_path):
    return urls.create_group(tmp_path / "s.zarr")


def make(group, n_rows: int = 10, *, shard_rows: int | None = 4):
    array = arrays.create_array(
        group,
        "x",
        shape=(n_rows, 3),
        dtype=np.int32,
        chunk_rows=2,
        shard_rows=shard_rows,
        axes=("a", "b"),
    )
    array[:] = np.arange(n_rows * 3).reshape(n_rows, 3)
    return array


def where(array) -> str:
    return str(array.store.root)


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_every_codec_chain_ends_in_crc32c(tmp_path, group, shard_rows):
    make(group, shard_rows=shard_rows)
    codecs = json.loads((tmp_path / "s.zarr/x/zarr.json").read_text())["codecs"]
    if shard_rows is not None:
        (sharding,) = codecs
        assert sharding["configuration"]["index_location"] == "start"
        assert sharding["configuration"]["index_codecs"][-1]["name"] == "crc32c"
        codecs = sharding["configuration"]["codecs"]
    assert [codec["name"] for codec in codecs] == ["bytes", "blosc", "crc32c"]


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_rows_come_back(group, shard_rows):
    array = make(group, shard_rows=shard_rows)
    arrays.check_chunks(array, url=where(array))
    rows = arrays.read_array(array, 3, 9, url=where(array))
    np.testing.assert_array_equal(rows, np.arange(30).reshape(10, 3)[3:9])


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_flipped_byte_is_an_error_that_names_the_array(tmp_path, group, shard_rows):
    array = make(group, shard_rows=shard_rows)
    file = tmp_path / "s.zarr/x/c.0.0"
    content = bytearray(file.read_bytes())
    content[-6] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptStoreError, match=r"s\.zarr: array x, rows 0 to 10, cannot be read"):
        arrays.read_array(array, 0, 10, url=where(array))


@pytest.mark.parametrize("shard_rows", [None, 4])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_cut_file_is_an_error(tmp_path, group, shard_rows, keep):
    array = make(group, shard_rows=shard_rows)
    file = tmp_path / "s.zarr/x/c.0.0"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(CorruptStoreError):
        arrays.read_array(array, 0, 10, url=where(array))


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_empty_file_is_found_though_a_shard_reads_as_fill(tmp_path, group, shard_rows):
    array = make(group, shard_rows=shard_rows)
    (tmp_path / "s.zarr/x/c.0.0").write_bytes(b"")
    with pytest.raises(CorruptStoreError, match="stored pieces"):
        arrays.check_chunks(array, url=where(array))


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_missing_file_is_found_though_it_reads_as_fill(tmp_path, group, shard_rows):
    array = make(group, shard_rows=shard_rows)
    (tmp_path / "s.zarr/x/c.1.0").unlink()
    n_pieces = 5 if shard_rows is None else 3
    with pytest.raises(CorruptStoreError, match=rf"x has {n_pieces - 1} of its {n_pieces} stored"):
        arrays.check_chunks(array, url=where(array))


def test_chunks_of_zeros_are_written_too(group):
    array = arrays.create_array(group, "z", shape=(5,), dtype=np.uint16, chunk_rows=2, axes=("a",))
    array[:] = 0
    arrays.check_chunks(array, url=where(array))


def test_empty_array(group):
    array = arrays.create_array(
        group, "e", shape=(0,), dtype=np.uint16, chunk_rows=1, shard_rows=1, axes=("a",)
    )
    array[:] = np.zeros(0, np.uint16)
    arrays.check_chunks(array, url=where(array))
    assert arrays.read_array(array, 0, 0, url=where(array)).shape == (0,)


def test_nan_marks_what_is_missing(tmp_path, group):
    options = {"shape": (4,), "dtype": np.float32, "chunk_rows": 2, "axes": ("a",)}
    array = arrays.create_array(group, "deep/y", **options, fill_value=float("nan"))
    array[:2] = [1, 2]
    found = arrays.read_array(array, 0, 4, url=where(array))
    assert np.isnan(found).tolist() == [False, False, True, True]
    with pytest.raises(CorruptStoreError, match=r"deep/y has 1 of its 2"):
        arrays.check_group(group, url=where(array))
    array[2:] = 0
    arrays.check_group(group, url=where(array))


def test_what_a_killed_write_has_left_is_no_piece(tmp_path, group):
    array = make(group)
    (tmp_path / "s.zarr/x/c.1.0123456789abcdef0123456789abcdef.partial").write_bytes(b"half")
    arrays.check_chunks(array, url=where(array))
    (tmp_path / "s.zarr/x/c.1.0").unlink()
    with pytest.raises(CorruptStoreError, match="x has 2 of its 3"):
        arrays.check_chunks(array, url=where(array))


@pytest.mark.parametrize("shard_rows", [None, 4])
def test_rows_that_are_whole_pieces_are_written_and_no_others(group, shard_rows):
    array = make(group, shard_rows=shard_rows)
    piece = shard_rows or 2
    arrays.write_pieces(array, piece, np.full((piece, 3), 7, np.int32))
    arrays.write_pieces(array, 8, np.full((2, 3), 8, np.int32))  # the last one is smaller
    expected = np.arange(30).reshape(10, 3)
    expected[piece : 2 * piece], expected[8:] = 7, 8
    np.testing.assert_array_equal(array[:], expected)
    for start, n in ((1, piece), (0, piece - 1), (8, 1), (8, 3), (8, 4)):
        with pytest.raises(ValueError, match="not whole pieces"):
            arrays.write_pieces(array, start, np.zeros((n, 3), np.int32))
    np.testing.assert_array_equal(array[:], expected)


def test_pieces_of_zeros_are_written_to_a_reopened_array_too(group):
    arrays.create_array(group, "z", shape=(4,), dtype=np.uint16, chunk_rows=2, axes=("a",))
    reopened = urls.open_group(where(group), mode="r+")["z"]
    arrays.write_pieces(reopened, 0, np.zeros(4, np.uint16))
    arrays.check_chunks(reopened, url=where(group))
