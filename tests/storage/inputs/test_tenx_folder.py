from __future__ import annotations

import gzip

import numpy as np
import pytest

from atlasstore.errors import CountsError
from atlasstore.events import Notice
from atlasstore.inputs import open_source


@pytest.mark.parametrize("genes", [0, 3])
@pytest.mark.parametrize("zipped", [False, True])
def test_reads_atac_and_multiome_folders(sample, genes, zipped) -> None:
    folder, events = sample.tenx_folder(genes=genes, zipped=zipped), []
    source = open_source(folder, on_event=events.append)
    read = source.read_cells(2, 20)
    assert read.dtype == np.int32
    assert read.has_canonical_format
    np.testing.assert_array_equal(read.toarray(), sample.counts[2:20])
    assert list(source.obs.index) == sample.barcodes
    assert list(source.peaks.index) == sample.peak_names
    left_out = f"{folder}: 11 peaks kept, 3 other features left out (Gene Expression)."
    notices = [event for event in events if isinstance(event, Notice)]
    assert notices == ([Notice(left_out)] if genes else [])


def test_peaks_without_coordinate_columns_are_read_from_their_ids(sample) -> None:
    folder = sample.tenx_folder(genes=2)
    table = folder / "features.tsv"
    table.write_text(
        "".join("\t".join(line.split("\t")[:3]) + "\n" for line in table.read_text().splitlines())
    )
    source = open_source(folder)
    assert list(source.peaks.chrom) == [chrom for chrom, _, _ in sample.coordinates]


@pytest.mark.parametrize("gone", ["barcodes.tsv", "peaks.bed"])
def test_a_missing_file_is_named(sample, gone) -> None:
    folder = sample.tenx_folder()
    (folder / gone).unlink()
    with pytest.raises(CountsError, match=f"has no {gone}"):
        open_source(folder)


def test_files_of_different_runs_are_refused(sample) -> None:
    folder = sample.tenx_folder()
    with (folder / "barcodes.tsv").open("a") as file:
        file.write("ONEMORE-1\n")
    with pytest.raises(CountsError, match=r"shape \(11, 23\) .* 11 features and 24 barcodes"):
        open_source(folder)


def test_a_truncated_matrix_is_one_sentence(sample) -> None:
    folder = sample.tenx_folder(zipped=True)
    path = folder / "matrix.mtx.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CountsError, match=r"matrix\.mtx\.gz has a matrix that cannot be read"):
        open_source(folder)


def test_a_matrix_with_fewer_entries_than_it_says_is_refused(sample) -> None:
    folder = sample.tenx_folder()
    lines = (folder / "matrix.mtx").read_text().splitlines(keepends=True)
    (folder / "matrix.mtx").write_text("".join(lines[:-4]))
    with pytest.raises(CountsError, match="has a matrix that cannot be read"):
        open_source(folder)


def test_fractions_are_refused(sample) -> None:
    folder = sample.tenx_folder()
    (folder / "matrix.mtx").write_bytes(
        b"%%MatrixMarket matrix coordinate real general\n11 23 2\n1 1 1\n5 3 2.25\n"
    )
    with pytest.raises(CountsError, match=r"has 2\.25 at cell 2, peak column 4"):
        open_source(folder)


def test_a_gzip_file_is_known_by_its_bytes(sample) -> None:
    folder = sample.tenx_folder()
    path = folder / "peaks.bed"
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert list(open_source(folder).peaks.index) == sample.peak_names
