"""Small BAM files whose fragments are known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from atlasstore.errors import CountsError, MissingExtraError
from atlasstore.events import Notice, Progress
from atlasstore.files import urls
from atlasstore.inputs import bam, open_source
from atlasstore.inputs.samples import Sample
from atlasstore.inputs.survey import survey

if TYPE_CHECKING:
    from pathlib import Path

CHROMS = {"chr1": 10_000, "chr2": 10_000}
PROPER, REVERSE, MATE_REVERSE, FIRST, SECOND = 0x1 | 0x2, 0x10, 0x20, 0x40, 0x80
BED = "chr1\t100\t200\nchr1\t400\t500\nchr2\t0\t50\n"


@pytest.fixture
def pysam():
    return pytest.importorskip("pysam", reason="pysam is not installed (extra bam)")


def write_bam(pysam, path: Path, pairs: list[dict]) -> Path:
    """Write read pairs: chrom, start and end of the outer reads, quality, flags, read length."""
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": n, "LN": size} for n, size in CHROMS.items()]}
    with pysam.AlignmentFile(path, "wb", header=header) as file:
        for number, pair in enumerate(pairs):
            for read in reads(pysam, f"pair{number}", **pair):
                file.write(read)
    return path


def reads(
    pysam, name, chrom, start, end, *, mapq=(60, 60), flags=0, length=30, drop=0, mate_chrom=None
):
    """Make the forward and the reverse read of a pair; `flags` are added to both."""
    chroms = (chrom, mate_chrom or chrom)
    ends = ((start, FIRST | MATE_REVERSE), (end - length, SECOND | REVERSE))
    for at, (position, own) in enumerate(ends):
        read = pysam.AlignedSegment()
        read.query_name, read.flag = name, (PROPER | own | flags) & ~drop
        read.reference_id, read.reference_start = list(CHROMS).index(chroms[at]), position
        read.mapping_quality, read.cigartuples = mapq[at], [(0, length)]
        read.query_sequence = "A" * length
        yield read


def write_folder(pysam, folder: Path, cells: dict[str, list[dict]]) -> tuple[Path, Path]:
    (folder / "bams").mkdir()
    for cell, pairs in cells.items():
        write_bam(pysam, folder / "bams" / f"{cell}.bam", pairs)
    (folder / "peaks.bed").write_text(BED)
    return folder / "bams", folder / "peaks.bed"


def pair(start: int, end: int, chrom: str = "chr1", **options) -> dict:
    return {"chrom": chrom, "start": start, "end": end, **options}


def test_a_file_is_a_cell_and_a_fragment_counts_as_in_fragment_files(pysam, tmp_path) -> None:
    cells = {
        "b": [pair(110, 180), pair(120, 450), pair(20, 90, "chr2"), pair(300, 390)],
        "a": [pair(50, 600), pair(150, 190)],
        "none": [],
    }
    folder, peaks = write_folder(pysam, tmp_path, cells)
    events: list[object] = []
    source = open_source(folder, peaks=peaks, on_event=events.append)
    assert list(source.obs.index) == ["a", "b", "none"]
    assert list(source.obs["n_fragments"]) == [2, 4, 0]
    np.testing.assert_array_equal(
        source.read_cells(0, 3).toarray(), [[1, 0, 0], [2, 1, 1], [0, 0, 0]]
    )
    assert [e.message for e in events if isinstance(e, Notice)] == [
        f"1 of 3 BAM files in {folder} have no usable pair of reads: they are kept as cells "
        "without counts."
    ]
    assert Progress("reading BAM files", 3, 3, "cells") in events


@pytest.mark.parametrize(
    ("start", "end", "counts"),
    [
        (96, 396, [1, 0]),  # 96 + 4 is the first base of the peak; 396 - 5 - 1 lies before the next
        (95, 405, [0, 0]),  # 99; 399
        (195, 406, [1, 1]),  # 199; 400
        (196, 505, [0, 1]),  # 200; 499
        (196, 506, [0, 0]),  # 500
    ],
)
def test_tn5_offsets_are_4_and_5(pysam, tmp_path, start, end, counts) -> None:
    folder, peaks = write_folder(pysam, tmp_path, {"a": [pair(start, end)]})
    source = open_source(folder, peaks=peaks)
    np.testing.assert_array_equal(source.read_cells(0, 1).toarray(), [[*counts, 0]])


@pytest.mark.parametrize(
    "unused",
    [
        {"mapq": (60, 29)},
        {"mapq": (29, 60)},
        {"flags": 0x400},  # duplicate
        {"flags": 0x100},  # secondary
        {"flags": 0x800},  # supplementary
        {"flags": 0x200},  # failed
        {"flags": 0x4},
        {"drop": 0x2},  # no proper pair
        {"drop": REVERSE},  # both forward
        {"mate_chrom": "chr2"},
    ],
    ids=str,
)
def test_unusable_reads_are_left_out(pysam, tmp_path, unused) -> None:
    cells = {"a": [pair(120, 180, **unused), pair(130, 190)]}
    folder, peaks = write_folder(pysam, tmp_path, cells)
    source = open_source(folder, peaks=peaks)
    assert source.read_cells(0, 1).toarray().tolist() == [[1, 0, 0]]
    assert list(source.obs["n_fragments"]) == [1]


def test_the_least_quality_can_be_set(pysam, tmp_path) -> None:
    cells = {"a": [pair(120, 180, mapq=(9, 30)), pair(130, 190)]}
    folder, peaks = write_folder(pysam, tmp_path, cells)
    for least, expected in [(30, 1), (10, 1), (9, 2)]:
        given = [Sample("s", str(folder))]
        scratch = str(tmp_path / f"scratch{least}")
        (source,) = survey(given, scratch=scratch, peaks=str(peaks), min_mapq=least).sources
        assert source.read_cells(0, 1).sum() == expected
        source.close()


def test_a_pattern_and_a_list_of_cells(pysam, tmp_path) -> None:
    cells = {name: [pair(110 + at, 180)] for at, name in enumerate(["x1", "x2", "y1"])}
    folder, peaks = write_folder(pysam, tmp_path, cells)
    assert list(open_source(f"{folder}/x*.bam", peaks=peaks).obs.index) == ["x1", "x2"]
    listed = tmp_path / "list.txt"
    listed.write_text("y1\nx1\n")
    assert list(open_source(folder, peaks=peaks, barcodes=listed).obs.index) == ["y1", "x1"]
    listed.write_text("y1\nz\n")
    with pytest.raises(CountsError, match=r"1 of 2 cells in .*list.txt have no BAM file .*\(z\)"):
        open_source(folder, peaks=peaks, barcodes=listed)


def test_files_at_urls_are_read_as_local_ones(pysam, tmp_path) -> None:
    cells = {name: [pair(110 + at, 180)] * (at + 1) for at, name in enumerate(["x1", "x2", "y1"])}
    folder, peaks = write_folder(pysam, tmp_path, cells)
    url = f"memory://bam/{tmp_path.name}"
    for path in folder.iterdir():
        urls.write_bytes(f"{url}/{path.name}", path.read_bytes())
    local = open_source(folder, peaks=peaks)
    for place in (url, f"{url}/*.bam"):
        found = open_source(place, peaks=peaks)
        assert list(found.obs.index) == ["x1", "x2", "y1"]
        assert (found.read_cells(0, 3) != local.read_cells(0, 3)).nnz == 0
    assert list(open_source(f"{url}/x*.bam", peaks=peaks).obs.index) == ["x1", "x2"]


def test_many_cells_in_several_pieces(pysam, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bam, "_FILES_PER_PIECE", 2)
    cells = {f"c{at}": [pair(110, 180)] * (at + 1) for at in range(5)}
    folder, peaks = write_folder(pysam, tmp_path, cells)
    found = open_source(folder, peaks=peaks).read_cells(0, 5).toarray()
    assert found[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_a_damaged_file_is_named(pysam, tmp_path) -> None:
    folder, peaks = write_folder(pysam, tmp_path, {"a": [pair(110, 180)], "b": []})
    (folder / "b.bam").write_bytes((folder / "a.bam").read_bytes()[:90])
    with pytest.raises(CountsError, match=r"bams: b\.bam cannot be read as BAM \("):
        open_source(folder, peaks=peaks)
    (folder / "b.bam").write_text("no BAM")
    with pytest.raises(CountsError, match=r"bams: b\.bam cannot be read as BAM \("):
        open_source(folder, peaks=peaks)


def test_no_usable_pair_at_all_is_refused(pysam, tmp_path) -> None:
    folder, peaks = write_folder(pysam, tmp_path, {"a": [pair(110, 180, mapq=(0, 0))]})
    with pytest.raises(CountsError, match="no proper pairs of reads with mapping quality 30"):
        open_source(folder, peaks=peaks)


def test_without_pysam_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pysam", None)
    (tmp_path / "a.bam").touch()
    (tmp_path / "peaks.bed").write_text(BED)
    given = [Sample("s", str(tmp_path))]
    with pytest.raises(MissingExtraError, match="pip install 'pysam>="):
        survey(given, scratch=str(tmp_path / "s"), peaks=str(tmp_path / "peaks.bed"), skip_bad=True)


def test_what_cannot_be_bam_is_refused(tmp_path) -> None:
    with pytest.raises(CountsError, match=r"none/\*\.bam has no \.bam files"):
        open_source(tmp_path / "none" / "*.bam")
    with pytest.raises(CountsError, match=r"memory://none/\*\.bam has no \.bam files"):
        open_source("memory://none/*.bam")
    (tmp_path / "a.bam").touch()
    with pytest.raises(CountsError, match="is BAM, which need peaks"):
        open_source(tmp_path)
