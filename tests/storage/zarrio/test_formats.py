from __future__ import annotations

import hashlib
import json

import fsspec
import pytest

from atlasstore.errors import CorruptStoreError, FormatVersionError, NotAStoreError
from atlasstore.files import urls
from atlasstore.zarrio import formats

SIZES = {
    "n_peaks": 4,
    "n_cells": 5,
    "window_bp": 192,
    "flank_bp": 3,
    "block_cells": 2,
    "block_positives": [3, 0, 1],
}


def finished(version: int = 1, name: str = formats.ATLAS) -> dict[str, object]:
    about = {"format": name, "format_version": version, "complete": True}
    return {**about, "provenance": {"seed": 3}, **SIZES}


def test_check_returns_what_stamp_wrote(tmp_path):
    group = urls.create_group(tmp_path / "a.zarr")
    formats.begin(group, formats.ATLAS)
    formats.stamp(group, formats.RESULT, 1, {"seed": 7})
    info = formats.check(urls.open_group(tmp_path / "a.zarr"), formats.RESULT)
    assert (info.format, info.version, info.provenance) == (formats.RESULT, 1, {"seed": 7})


def test_begun_store_is_incomplete(tmp_path):
    group = urls.create_group(tmp_path / "a.zarr")
    formats.begin(group, formats.MODEL)
    with pytest.raises(NotAStoreError, match=r"a\.zarr is an incomplete model"):
        formats.check(group, url=f"{tmp_path}/a.zarr")


@pytest.mark.parametrize("attrs", [{}, {"encoding-type": "anndata"}, {"format": "other"}])
def test_foreign_group_is_not_a_store(attrs):
    with pytest.raises(NotAStoreError, match="name no format of ours"):
        formats.check(attrs)


def test_other_format_than_expected():
    with pytest.raises(NotAStoreError, match="is an atlas, but a model is needed"):
        formats.check(finished(), formats.MODEL)


def test_newer_version_is_refused_with_the_way_out():
    with pytest.raises(FormatVersionError, match=r"version 99.*up to 2.*pip install \."):
        formats.check(finished(99))


@pytest.mark.parametrize("version", [None, "1", 1.5, True, 0, -1, 10**400])
def test_a_version_that_is_none(version):
    with pytest.raises(CorruptStoreError, match=r"here: format_version is .*damaged"):
        formats.check(finished() | {"format_version": version}, url="here")


@pytest.mark.parametrize("provenance", [[1], None, {"config": None}, {"config": [1]}], ids=str)
def test_provenance_is_a_mapping(provenance):
    with pytest.raises(CorruptStoreError, match=r"here: its provenance, or .* is no mapping"):
        formats.check(finished() | {"provenance": provenance}, url="here")


@pytest.mark.parametrize(("name", "version"), [(formats.ATLAS, 0), (formats.ATLAS, 3), ("x", 1)])
def test_stamp_writes_only_known_versions(tmp_path, name, version):
    group = urls.create_group(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="cannot write"):
        formats.stamp(group, name, version, {})
    assert dict(group.attrs) == {}


def test_provenance_checksums_files_and_is_json(tmp_path):
    file = tmp_path / "counts.bin"
    file.write_bytes(b"abc" * 1_000_000)
    record = formats.provenance([str(file)], {"window_bp": 1344}, 5)
    assert record["inputs"] == [
        {
            "url": str(file),
            "bytes": 3_000_000,
            "sha256": hashlib.sha256(b"abc" * 1_000_000).hexdigest(),
        }
    ]
    assert set(record["packages"]) == {"atlasbasset", "zarr", "anndata", "numpy"}
    assert json.loads(json.dumps(record)) == record


def test_provenance_of_a_folder_sees_names_and_contents(tmp_path):
    def checksum(files: dict[str, bytes], name: str) -> str:
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return formats.provenance([str(folder)], {}, 0)["inputs"][0]["sha256"]

    same = [checksum({"a": b"1", "b/c": b"2"}, name) for name in ("x", "y")]
    assert same[0] == same[1]
    assert checksum({"a": b"1", "b/d": b"2"}, "renamed") != same[0]
    assert checksum({"a": b"1", "b/c": b"3"}, "changed") != same[0]


def test_provenance_reads_urls():
    with fsspec.open("memory://provenance/counts.bin", "wb") as file:
        file.write(b"abc")
    record = formats.provenance(["memory://provenance/counts.bin"], {}, None)
    assert record["inputs"][0]["sha256"] == hashlib.sha256(b"abc").hexdigest()
