"""Inputs that go with a job, and those that are refused."""

from __future__ import annotations

import pytest

from atlasbasset.cluster import shipped
from atlasbasset.cluster.shipped import check_for_pods, shared_variables, shipment
from atlasstore.errors import UserInputError

OUT = ["s3://b/out.zarr"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wanted.bed").write_text("chr1\t1\t2\n")
    return tmp_path


def test_a_file_below_this_directory_keeps_its_relative_path(tmp_path):
    found = shipment(["data/wanted.bed", "s3://b/atlas.zarr", "/shared/genome.fa"], OUT)
    found.copy_to(tmp_path / "there")
    there = tmp_path / "there"
    assert [path for path in there.rglob("*") if path.is_file()] == [there / "data" / "wanted.bed"]
    assert (there / "data" / "wanted.bed").read_text() == "chr1\t1\t2\n"


def test_the_digest_is_of_names_and_content(tmp_path):
    before = shipment(["data/wanted.bed"], OUT).digest()
    assert shipment(["data/wanted.bed"], OUT).digest() == before
    (tmp_path / "data" / "wanted.bed").write_text("chr1\t1\t3\n")
    assert shipment(["data/wanted.bed"], OUT).digest() != before


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("none.bed", "does not exist here"),
        ("data", "is a folder"),
        ("../elsewhere.bed", "not below this directory"),
        ("memory://atlas", "in the memory of a process"),
    ],
)
def test_what_the_nodes_would_not_find_is_refused(place, said, tmp_path):
    (tmp_path.parent / "elsewhere.bed").touch()
    with pytest.raises(UserInputError, match=said):
        shipment([place], OUT)


@pytest.fixture
def inputs(tmp_path):
    """Inputs of all kinds that are files."""
    names = ("a.h5ad", "b.h5ad", "one_matrix.mtx.gz", "one_barcodes.tsv.gz", "one_peaks.bed.gz")
    cells = [f"cells/{number}.bam" for number in range(2)]
    (tmp_path / "data" / "cells").mkdir()
    for name in (*names, *cells):
        (tmp_path / "data" / name).write_text(name)
    (tmp_path / "data" / "store.zarr").mkdir()
    return tmp_path / "data"


def files(*samples):
    return [str(path) for path in shipment(samples, OUT, samples=samples).files]


def test_a_pattern_of_inputs_ships_what_it_matches(inputs):
    assert files("data/?.h5ad") == ["data/a.h5ad", "data/b.h5ad"]
    assert files("**/b.h5ad", "s3://b/*.h5ad", "/shared/*.h5ad") == ["data/b.h5ad"]
    assert files("data/cells/*.bam") == ["data/cells/0.bam", "data/cells/1.bam"]


def test_a_10x_matrix_goes_with_its_barcodes_and_peaks(inputs):
    found = [f"data/one_{name}" for name in ("barcodes.tsv.gz", "matrix.mtx.gz", "peaks.bed.gz")]
    assert files("data/one_matrix.mtx.gz") == found
    (inputs / "one_peaks.bed.gz").unlink()
    with pytest.raises(UserInputError, match=r"one_matrix.mtx.gz has no one_peaks.bed"):
        files("data/one_matrix.mtx.gz")


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("data/*.loom", r"data/\*\.loom matches nothing"),
        ("data/*.zarr", r"^data/\*\.zarr stands for data/store\.zarr, which is a folder, and"),
        ("../*.h5ad", "not below this directory"),
    ],
)
def test_a_pattern_that_brings_nothing_is_refused_with_the_reason(inputs, pattern, said):
    with pytest.raises(UserInputError, match=said):
        files(pattern)


def test_a_sample_sheet_brings_the_files_that_it_lists(inputs):
    rows = ["a.h5ad,", "s3://b/c.h5ad,", "/shared/d.h5ad,", "cells/*.bam,names.txt"]
    (inputs / "sheet.csv").write_text("\n".join(["path,barcodes", *rows]))
    (inputs / "names.txt").write_text("0\n")
    listed = ["a.h5ad", "cells/0.bam", "cells/1.bam", "names.txt", "sheet.csv"]
    assert files("data/sheet.csv") == [f"data/{name}" for name in listed]
    assert [str(path) for path in shipment(["data/sheet.csv"], OUT).files] == ["data/sheet.csv"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("store.zarr", r"data/store\.zarr, which is a folder"),
        ("../up.h5ad", r"data/\.\./up\.h5ad, which is not below this directory"),
        ("none.h5ad", r"data/none\.h5ad, which does not exist here"),
    ],
)
def test_a_sheet_that_lists_what_cannot_be_shipped_is_refused(inputs, row, said):
    (inputs.parent / "up.h5ad").touch()
    (inputs / "sheet.csv").write_text(f"path\n{row}\n")
    with pytest.raises(UserInputError, match=rf"^data/sheet\.csv stands for {said}"):
        files("data/sheet.csv")


def test_what_is_too_large_to_ship_is_refused(monkeypatch):
    monkeypatch.setattr(shipped, "MOST_SHIPPED_BYTES", 4)
    with pytest.raises(UserInputError, match=r"wanted\.bed: 9 bytes are too much.*at most 4 bytes"):
        shipment(["data/wanted.bed"], OUT)


@pytest.mark.parametrize("place", ["out.zarr", "memory://out", "./out.zarr"])
def test_an_output_that_would_be_lost_with_its_node_is_refused(place):
    for check in (shipment, check_for_pods):
        with pytest.raises(UserInputError, match="lost with it; write to a URL"):
            check([], [place])


def test_pods_get_no_files():
    with pytest.raises(UserInputError, match=r"wanted\.bed is on this machine alone"):
        check_for_pods(["data/wanted.bed"], OUT)
    check_for_pods(["s3://b/wanted.bed", "/shared/x"], OUT)


def test_places_go_along_and_keys_only_when_asked():
    environment = {
        "AWS_ENDPOINT_URL": "http://s3",
        "AWS_SECRET_ACCESS_KEY": "k",
        "MINE": "1",
        "X": "2",
    }
    assert shared_variables(environment) == {"AWS_ENDPOINT_URL": "http://s3"}
    found = shared_variables(environment, credentials=True, more=["MINE"])
    assert found == {name: environment[name] for name in environment if name != "X"}
    with pytest.raises(UserInputError, match="NONE is not set here"):
        shared_variables(environment, more=["NONE"])
