"""The way back from a result to files, as provenance holds it."""

from __future__ import annotations

from atlasstore.lineage import lineage, lineage_lines

FILE = {"url": "counts.h5ad", "bytes": 3_200_000, "sha256": "ab" * 32}
ATLAS = {"inputs": [FILE], "config": {}, "created": "2026-01-01", "appended": [{"inputs": [FILE]}]}
MODEL = {
    "inputs": [],
    "config": {"atlas": "a.zarr", "start": {"model": "old.zarr", "sha256": "cd" * 32}},
    "created": "2026-01-02",
    "atlas": ATLAS,
}
RESULT = {"config": {"model": "m.zarr", "atlas": "a.zarr"}, "model": MODEL, "atlas": ATLAS}


def test_everything_once_nearest_first():
    found = [(o.kind, o.url, o.depth) for o in lineage(RESULT)]
    assert found == [
        ("model", "m.zarr", 1),
        ("atlas", "a.zarr", 2),
        ("input", "counts.h5ad", 3),
        ("trunk", "old.zarr", 2),
    ]


def test_lines():
    lines = lineage_lines(lineage(RESULT))
    assert lines[0] == ("from model", "m.zarr, made 2026-01-02")
    assert lines[2] == ("    from input", f"counts.h5ad, 3.20 MB, sha256 {'ab' * 6}")


def test_of_thousands_of_files_twenty_are_shown():
    made = {"inputs": [{"url": f"{n}.bam"} for n in range(3000)], "config": {}}
    lines = lineage_lines(lineage(made))
    assert len(lines) == 21
    assert lines[-1] == ("from input", "and 2,980 more files")


def test_what_is_no_provenance_of_ours_says_nothing():
    assert lineage({"inputs": 3, "config": [], "model": "m", "appended": {}}) == ()
    assert lineage({"inputs": [None, 7], "config": {"start": 3}})[0].url == ""
    deep: dict = {}
    for _ in range(500):
        deep = {"model": deep, "config": {"model": "m"}}
    assert len(lineage(deep)) == 1
