from __future__ import annotations

import json

import pytest

from atlasstore.errors import CorruptStoreError
from atlasstore.files import urls
from atlasstore.zarrio import formats, metadata

ATLAS = {
    "n_peaks": 4,
    "n_cells": 5,
    "window_bp": 192,
    "flank_bp": 0,
    "block_cells": 2,
    "block_positives": [3, 0, 1],
}
APPENDED = ATLAS | {"appends": [0, 3, 4, 5], "part_positives": [1, 1, 1, 1]}
MODEL = {"n_cells": 5, "block_cells": 2, "config": {}, "batches": []}


def test_sizes_that_fit():
    metadata.check_atlas(ATLAS, ATLAS, "here")
    metadata.check_atlas(APPENDED, APPENDED, "here")
    metadata.check_model(MODEL, MODEL, "here")


@pytest.mark.parametrize(
    "changed",
    [
        {"n_cells": 10**15},
        {"n_cells": 10**15, "block_cells": 1 << 16},
        {"n_cells": 1 << 40, "block_cells": 1 << 16},
        {"n_cells": -5},
        {"n_cells": 5.0},
        {"n_cells": "5"},
        {"n_cells": None},
        {"block_cells": 0},
        {"block_cells": 1 << 17},
        {"n_peaks": True},
        {"window_bp": 10**30},
        {"block_positives": [1, 2]},
        {"block_positives": [1, 2, -1]},
        {"block_positives": [1, 2, "3"]},
        {"block_positives": 3},
        {"appends": [0, 5], "part_positives": [1, 1]},
        {"appends": [0, 5]},
        {"appends": [0, 3, 3, 5], "part_positives": [1, 1, 1, 1]},
        {"appends": [0, 3, 6], "part_positives": [1, 1, 1, 1]},
        {"appends": [1, 5], "part_positives": [1, 1, 1]},
        {"appends": [0, [3], 5], "part_positives": [1, 1, 1]},
        {"appends": "05", "part_positives": [1, 1, 1]},
    ],
    ids=str,
)
def test_sizes_of_an_atlas_that_do_not_fit(changed):
    attrs = ATLAS | changed
    with pytest.raises(CorruptStoreError, match=r"^here: .*the store is damaged"):
        metadata.check_atlas(attrs, attrs, "here")


@pytest.mark.parametrize(
    "changed",
    [
        {"n_cells": 1 << 40, "block_cells": 1 << 16},
        {"n_cells": 10**12, "block_cells": 1},
        {"config": None},
        {"batches": "ab"},
    ],
    ids=str,
)
def test_sizes_of_a_model_that_do_not_fit(changed):
    attrs = MODEL | changed
    with pytest.raises(CorruptStoreError, match=r"^here: .*the store is damaged"):
        metadata.check_model(attrs, attrs, "here")


def test_any_change_of_the_root_is_found(tmp_path):
    url = str(tmp_path / "s.zarr")
    group = urls.create_group(url)
    formats.stamp(group, formats.RESULT, 1, {"seed": 7, "at": "12:00"})
    metadata.check_root(url)
    root = json.loads((tmp_path / "s.zarr/zarr.json").read_text())
    for changed in (
        root | {"attributes": root["attributes"] | {"provenance": {"seed": 8, "at": "12:00"}}},
        root | {"attributes": root["attributes"] | {"more": 1}},
        root | {"zarr_format": 4},
        root
        | {"attributes": {k: v for k, v in root["attributes"].items() if k != "metadata_sha256"}},
    ):
        urls.write_bytes(f"{url}/zarr.json", json.dumps(changed).encode())
        with pytest.raises(CorruptStoreError, match=r"zarr\.json does not hold what was written"):
            metadata.check_root(url)
    urls.write_bytes(f"{url}/zarr.json", json.dumps(root).encode())
    metadata.check_root(url)
