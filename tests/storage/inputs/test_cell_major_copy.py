"""Copies of inputs that are not stored by cells: equal, restartable, made by any workers."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from Bio import bgzf

from atlasstore.errors import CountsError
from atlasstore.events import Progress
from atlasstore.files import urls
from atlasstore.inputs import csc_columns, text_ranges
from atlasstore.inputs.cell_major_copy import Conversion, Copy, convert
from atlasstore.inputs.fragments import FragmentPieces
from atlasstore.inputs.kinds import open_counts
from atlasstore.inputs.spec import SourceSpec
from executors import DyingExecutor, Killed, PickledExecutor, ProcessExecutor

if TYPE_CHECKING:
    from pathlib import Path

MEMORY = 1 << 16


def conversion(sample, kind: str, *, listed: bool = True) -> Conversion:
    barcodes = str(sample.text("list.txt", "\n".join(sample.barcodes))) if listed else None
    url, bed = {
        "fragments": lambda: (bgzip(sample.fragments()), str(sample.bed())),
        "h5ad": lambda: (sample.h5ad("csc"), None),
        "zarr": lambda: (sample.zarr("csc", 3), None),
        "10x-folder": lambda: (sample.tenx_folder(genes=2), None),
    }[kind]()
    return Conversion(
        SourceSpec(str(url), str(url), kind, bed, barcodes), str(sample.folder / "copy")
    )


def bgzip(path: Path) -> Path:
    """Write again as bgzip, in blocks of a few lines."""
    text = gzip.decompress(path.read_bytes())
    with bgzf.BgzfWriter(str(path), "wb") as file:
        for start in range(0, len(text), 300):
            file.write(text[start : start + 300])
            file.flush()
    return path


@pytest.fixture
def many_pieces(monkeypatch) -> None:
    monkeypatch.setattr(text_ranges, "MIN_PIECE_BYTES", 200)


def counts(copy: Any) -> np.ndarray:
    assert isinstance(copy, Copy), copy
    opened = open_counts(copy.spec)
    found = opened.read_cells(0, opened.n_cells).toarray()
    opened.close()
    return found


def copies(conversions: list[Conversion], **options: Any) -> list[Any]:
    scratch = urls.join(conversions[-1].folder, "receipts")
    return convert(conversions, scratch=scratch, **({"memory_bytes": MEMORY} | options))


@pytest.mark.parametrize("kind", ["fragments", "h5ad", "zarr", "10x-folder"])
@pytest.mark.parametrize("executor", [None, PickledExecutor()])
@pytest.mark.usefixtures("many_pieces")
def test_copies_hold_the_counts_whoever_makes_them(sample, kind, executor) -> None:
    what = conversion(sample, kind)
    (copy,) = copies([what], executor=executor, n_workers=3)
    np.testing.assert_array_equal(counts(copy), sample.counts)
    assert list(copy.obs.index) == sample.barcodes
    assert copy.spec.name == what.spec.url
    assert urls.list_names(what.folder) == ["counts.zarr", "receipts"]


@pytest.mark.parametrize("n_workers", [1, 2, 5])
@pytest.mark.usefixtures("many_pieces")
def test_cells_come_by_first_appearance_however_the_file_is_cut(sample, n_workers, rng) -> None:
    lines = [
        f"{chrom}\t{end - 1}\t{end}\t{barcode}\t1\n"
        for row, barcode in zip(sample.counts, sample.barcodes, strict=True)
        for (chrom, _, end), count in zip(sample.coordinates, row, strict=True)
        for _ in range(count)
    ]
    rng.shuffle(lines)
    path = sample.text("shuffled.tsv", "".join(lines))
    order = list(dict.fromkeys(line.split("\t")[3] for line in lines))
    spec = SourceSpec(str(path), str(path), "fragments", str(sample.bed()))
    (copy,) = copies([Conversion(spec, str(sample.folder / "copy"))], n_workers=n_workers)
    assert list(copy.obs.index) == order
    rows = [sample.barcodes.index(barcode) for barcode in order]
    np.testing.assert_array_equal(counts(copy), sample.counts[rows])
    np.testing.assert_array_equal(copy.obs["n_fragments"], sample.counts[rows].sum(1))


def store_files(folder: str) -> dict[str, bytes]:
    fs, root = urls.filesystem(urls.join(folder, "counts.zarr"))
    return {name.removeprefix(root): fs.cat_file(name) for name in sorted(fs.find(root))}


@pytest.mark.usefixtures("many_pieces")
def test_killed_anywhere_and_started_again_it_makes_the_same_copy(sample, monkeypatch) -> None:
    """Killed after the 1st, 2nd, ... unit, until it is through."""
    what = conversion(sample, "fragments")
    whole = Conversion(what.spec, str(sample.folder / "undisturbed"))
    copies([whole], n_workers=2)
    counted: list[object] = []
    count = FragmentPieces.count
    monkeypatch.setattr(
        FragmentPieces,
        "count",
        lambda self, piece, *a, **k: (counted.append(piece), count(self, piece, *a, **k))[1],
    )
    kills, made = 0, []
    while not made:
        try:
            made = copies([what], executor=DyingExecutor(1), n_workers=2)
        except Killed:
            kills += 1
    assert kills > 2
    assert len(set(counted)) == len(counted)  # nothing was counted twice
    assert store_files(what.folder) == store_files(whole.folder)
    np.testing.assert_array_equal(counts(made[0]), sample.counts)


@pytest.mark.usefixtures("many_pieces")
def test_started_again_with_other_workers_it_is_cut_anew(sample) -> None:
    what = conversion(sample, "fragments")
    with pytest.raises(Killed):
        copies([what], executor=DyingExecutor(2), n_workers=2)
    (copy,) = copies([what], n_workers=5)
    np.testing.assert_array_equal(counts(copy), sample.counts)


@pytest.mark.parametrize("entries", [7, 40])
def test_columns_in_small_ranges_give_the_same(sample, entries) -> None:
    memory = 2 * csc_columns._BYTES_PER_ENTRY * entries
    n_workers = -(-np.count_nonzero(sample.counts) // (2 * entries))
    what = conversion(sample, "h5ad", listed=False)
    (copy,) = copies([what], memory_bytes=memory, n_workers=n_workers)
    np.testing.assert_array_equal(counts(copy), sample.counts)


def test_a_bad_input_is_returned_and_the_others_are_made(sample) -> None:
    good = conversion(sample, "10x-folder")
    bad = sample.text("bad.tsv", "chr1_alt\tx\t2\tA\n")
    spec = SourceSpec(str(bad), str(bad), "fragments", str(sample.bed()))
    events: list[object] = []
    made = copies([Conversion(spec, str(sample.folder / "bad")), good], on_event=events.append)
    assert isinstance(made[0], CountsError)
    assert "bad.tsv line 1 is" in str(made[0])
    np.testing.assert_array_equal(counts(made[1]), sample.counts)
    counting = [e for e in events if isinstance(e, Progress) and e.stage == "counting inputs"]
    assert counting == [Progress("counting inputs", n, 2, "pieces") for n in (0, 1, 2)]


def test_processes_make_copies(sample) -> None:
    what = conversion(sample, "10x-folder")
    (copy,) = copies([what], executor=ProcessExecutor(), n_workers=2)
    np.testing.assert_array_equal(counts(copy), sample.counts)


def peak_of_conversion(folder: Path, n_fragments: int, memory_bytes: int) -> int:
    """Return the most bytes that converting this many fragments took."""
    folder.mkdir()
    rng = np.random.default_rng(n_fragments)
    start = rng.integers(0, 2_000_000, n_fragments)
    table = pd.DataFrame({"chrom": "chr1", "start": start, "end": start + 100})
    table["barcode"] = np.array([f"C{i}" for i in range(500)])[rng.integers(0, 500, n_fragments)]
    table.to_csv(folder / "f.tsv", sep="\t", header=False, index=False)
    bed = "".join(f"chr1\t{at}\t{at + 500}\n" for at in range(0, 2_000_000, 1000))
    (folder / "peaks.bed").write_text(bed)
    url = str(folder / "f.tsv")
    spec = SourceSpec(url, url, "fragments", str(folder / "peaks.bed"))
    tracemalloc.start()
    try:
        (copy,) = copies([Conversion(spec, str(folder / "copy"))], memory_bytes=memory_bytes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert copy.obs["n_fragments"].sum() == n_fragments
    return peak


def test_memory_stays_within_the_bound(tmp_path) -> None:
    """The fragments alone would take 12 MB as columns."""
    bound = 4 << 20
    assert peak_of_conversion(tmp_path / "f", 300_000, bound) < 2 * bound
