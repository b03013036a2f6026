"""Small files that declare much: refused in a sentence, before anything is taken."""

from __future__ import annotations

import gzip
import json
import resource

import h5py
import numpy as np
import pytest

from atlasstore.errors import CountsError, PeaksError, UserInputError
from atlasstore.files.text import numbered_lines
from atlasstore.genome.peaks import read_bed
from atlasstore.inputs import open_source

HUGE = 10**11


@pytest.fixture(autouse=True)
def _little_memory():
    """Take no more than 24 GB of addresses: an allocation of what is declared fails at once."""
    was = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, was[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, was)


def replaced(path, name: str, **declared):
    with h5py.File(path, "r+") as file:
        del file[name]
        file.create_dataset(name, **declared)
    return path


@pytest.mark.parametrize("part", ["barcodes", "indptr", "data", "indices", "features/id"])
def test_10x_arrays_that_are_not_stored(sample, part) -> None:
    kind = "S18" if part in ("barcodes", "features/id") else "i8"
    path = replaced(sample.tenx_h5(), f"matrix/{part}", shape=(HUGE,), dtype=kind, chunks=(10**6,))
    with pytest.raises(
        CountsError, match=rf"declares /matrix/{part} of shape .* stores 0 b|says it has"
    ):
        open_source(path).read_cells(0, 1)


@pytest.mark.parametrize("part", ["obs/depth", "var/_index", "X/indptr", "X/data"])
def test_h5ad_arrays_that_are_not_stored(sample, part) -> None:
    path = replaced(sample.h5ad(), part, shape=(HUGE,), dtype="i8", chunks=(10**6,))
    with pytest.raises(CountsError, match=rf"declares /{part} of shape .* but stores 0 bytes"):
        open_source(path).read_cells(0, 1)


def test_a_dense_x_that_is_not_stored(sample) -> None:
    path = replaced(sample.h5ad("dense"), "X", shape=(23, HUGE), dtype="f4", chunks=(1, 10**6))
    with pytest.raises(CountsError, match=r"declares /X of shape|has counts of shape"):
        open_source(path).read_cells(0, 1)


@pytest.mark.parametrize("array", ["X/indices", "obs/depth", "X/indptr"])
def test_zarr_arrays_of_any_size(sample, array) -> None:
    path = sample.zarr("csr", 3)
    place = path / array / "zarr.json"
    metadata = json.loads(place.read_text())
    metadata["shape"] = [10**15]
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [10**15]
    place.write_text(json.dumps(metadata))
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(CountsError, match=r"declares|cannot be read|with its end"):
        open_source(path).read_cells(0, 1)


@pytest.mark.parametrize("part", ["matrix/barcodes", "matrix", "matrix/features"])
def test_links_to_other_files_are_refused(sample, part) -> None:
    path = sample.tenx_h5()
    with h5py.File(path, "r+") as file:
        del file[part]
        file[part] = h5py.ExternalLink("/etc/hostname", "/x")
    with pytest.raises(CountsError, match=rf"has /{part} in another file \(/etc/hostname\)"):
        open_source(path)


@pytest.mark.parametrize("part", ["X", "obs", "var", "X/data", "obs/depth", "X/indptr"])
def test_links_of_an_h5ad_are_refused(sample, part) -> None:
    path = sample.h5ad()
    with h5py.File(path, "r+") as file:
        del file[part]
        file[part] = h5py.ExternalLink("/etc/hostname", "/x")
    with pytest.raises(CountsError, match=rf"has /{part} in another file \(/etc/hostname\)"):
        open_source(path).read_cells(0, 1)


def test_storage_in_other_files_is_refused(sample) -> None:
    path = sample.h5ad()
    with h5py.File(path, "r+") as file:
        size = file["obs/depth"].shape
        del file["obs/depth"]
        file["obs"].create_dataset("depth", size, "i8", external=[("/etc/hostname", 0, 8 * 23)])
    with pytest.raises(CountsError, match=r"has /obs/depth in another file \(/etc/hostname\)"):
        open_source(path)


def test_virtual_datasets_are_refused(sample) -> None:
    path, other = sample.h5ad(), sample.folder / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.arange(23)
    with h5py.File(path, "r+") as file:
        del file["obs/depth"]
        layout = h5py.VirtualLayout(shape=(23,), dtype="i8")
        layout[:] = h5py.VirtualSource(other, "x", shape=(23,))
        file["obs"].create_virtual_dataset("depth", layout)
    with pytest.raises(CountsError, match="has /obs/depth in another file"):
        open_source(path)


def test_groups_that_hold_each_other_end(sample) -> None:
    path = sample.h5ad()
    with h5py.File(path, "r+") as file:
        group = file["obs"]
        for level in range(40):  # 2^40 ways through them
            group = group.create_group(f"g{level}")
            group.parent[f"again{level}"] = group
    np.testing.assert_array_equal(open_source(path).read_cells(0, 23).toarray(), sample.counts)


@pytest.mark.parametrize(("place", "holds"), [("obs/g", "obs"), ("obs/type/codes", "/")])
def test_a_group_inside_itself_is_refused(sample, place, holds) -> None:
    """anndata follows it to the end of Python's stack, and HDF5 then never closes the file."""
    path = sample.h5ad()
    with h5py.File(path, "r+") as file:
        if place in file:
            del file[place]
        file[place] = file[holds]
    with pytest.raises(CountsError, match="a group inside itself; the file is damaged"):
        open_source(path)


@pytest.mark.parametrize(
    "head",
    [f"11 23 {10**15}", f"{10**15} {10**15} {10**15}", "-1 -1 -1", "11 23", "9" * 5000 + " 1 1"],
)
def test_a_matrix_market_head_that_says_too_much(sample, head) -> None:
    folder = sample.tenx_folder()
    text = (folder / "matrix.mtx").read_text().splitlines()
    at = next(i for i, line in enumerate(text) if not line.startswith("%"))
    text[at] = head
    (folder / "matrix.mtx").write_text("\n".join(text) + "\n")
    with pytest.raises(CountsError, match=r"cannot be read|has a matrix of shape"):
        open_source(folder)


def bomb(path, line: bytes, n_bytes: int):
    with gzip.open(path, "wb", 9) as file:
        for _ in range(n_bytes // len(line) + 1):
            file.write(line)
    return path


@pytest.mark.parametrize(
    "line", [bytes(1 << 20), (b"x" * 31 + b"\n") * (1 << 15)], ids=["one line", "lines"]
)
def test_a_gzip_bomb_is_refused_early(tmp_path, line) -> None:
    path = bomb(tmp_path / "b.gz", line, 160 << 20)
    assert path.stat().st_size < 1 << 19
    with pytest.raises(UserInputError, match=r"grows more than|has a line of more than"):
        for _ in numbered_lines(path, error=UserInputError):
            pass


def test_a_bomb_of_fragments_is_refused_early(sample) -> None:
    path = bomb(sample.folder / "b.tsv.gz", b"chr1_alt" * (1 << 17), 160 << 20)
    with pytest.raises(CountsError, match=r"grows more than|has a line of more than"):
        open_source(path, peaks=sample.bed())


def test_a_file_of_one_endless_line_is_refused_early(tmp_path) -> None:
    with (tmp_path / "sparse.bed").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PeaksError, match="has a line of more than 64 MiB"):
        read_bed(tmp_path / "sparse.bed")


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 19, str(2**62), "1" + "0" * 15])
def test_positions_of_many_digits(sample, digits) -> None:
    for bed in (f"chr1\t0\t{digits}\n", f"chr1\t{digits}\t{digits}9\n"):
        with pytest.raises(PeaksError, match=r"line 1 is 'chr1"):
            read_bed(sample.text("p.bed", bed))
    fragments = sample.text("f.tsv", f"chr1_alt\t5\t{digits}\tA\n")
    with pytest.raises(CountsError, match=r"f\.tsv line 1 is 'chr1_alt"):
        open_source(fragments, peaks=sample.bed())
